"""On CI, a test that was skipped although it could run fails the session."""

from __future__ import annotations

import os

import pytest

# Reasons that a runner without the thing cannot help; a reason that begins otherwise is a hole in the tests.
ALLOWED_SKIPS = (
    "needs a CUDA build of torch",
    "needs a CUDA device",
    "needs a PostgreSQL server",
    "needs Linux",
    "needs TRL",
    "needs macOS",
)

_unexpected = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_unexpected] = []
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(_SkipGuard(config.stash[_unexpected]), "skip-guard")


class _SkipGuard:
    def __init__(self, unexpected: list[str]) -> None:
        self._unexpected = unexpected

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        longrepr = report.longrepr
        reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIPS):
            self._unexpected.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look_at(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unexpected:
            terminalreporter.section("skipped, but not for an allowed reason", red=True)
            for line in self._unexpected:
                terminalreporter.line(line)
