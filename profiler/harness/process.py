"""The supervisor's end of a process in which trials run."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from profiler.harness.messages import TrialRequest

_IMPORT_SECONDS = 300.0  # importing torch from a cold network disk takes minutes


class TrialProcess:
    """A process that serves trials, its pipe of events, and its log.

    It must be made by a thread that outlives it (the main thread): the kernel kills it when that one ends.
    """

    def __init__(self, *, forks: bool, environment: Mapping[str, str]) -> None:
        self.forks = forks
        self.environment = dict(environment)
        self._log = tempfile.TemporaryFile(prefix="sizeup-trial-")  # noqa: SIM115  # closed in `close`
        read_end, write_end = os.pipe()
        arguments = ["--parent", str(os.getpid()), "--events", str(write_end)]
        self._process = start_module(
            "profiler.harness.server",
            [*arguments, "--fork"] if forks else arguments,
            log=self._log,
            pipe=write_end,
            environment=environment,
        )
        os.close(write_end)
        self._events = read_end
        os.set_blocking(read_end, False)
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(read_end, selectors.EVENT_READ)
        self._is_ready = False

    @property
    def process_id(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it can take a trial."""
        return self._process.poll() is None

    def wait_ready(self) -> bool:
        """Wait until it has imported what trials need; False if it ended, or took minutes."""
        while not self._is_ready:
            event = self.next_event(time.monotonic() + _IMPORT_SECONDS)
            if event is None or event["event"] == "ended":
                return False
            self._is_ready = event["event"] == "ready"
        return True

    def send(self, request: TrialRequest) -> None:
        """Ask for a trial."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: the next event says so
            self._process.stdin.write(request.to_line())
            self._process.stdin.flush()

    def next_event(self, deadline: float) -> dict[str, Any] | None:
        """Return the next event, `{"event": "ended"}` when the pipe ends, or None at the deadline.

        Args:
            deadline: By `time.monotonic()`.
        """
        for event in self._buffered():
            return event
        while (remaining := deadline - time.monotonic()) > 0:
            if not self._selector.select(min(remaining, 60)):
                continue
            data = os.read(self._events, 65536)
            if not data:
                return {"event": "ended"}
            self._buffer += data
            for event in self._buffered():
                return event
        return None

    def _buffered(self) -> Iterator[dict[str, Any]]:
        while b"\n" in self._buffer:
            line, self._buffer = self._buffer.split(b"\n", 1)
            yield json.loads(line)

    def exit_code(self) -> int:
        """Wait for the process to end and return its code; negative is the signal that killed it."""
        return self._process.wait()

    def log_tail(self, count: int = 3) -> str:
        """Return the last lines that the process and its trials wrote, joined to one."""
        return log_tail(self._log, count)

    def clear_log(self) -> None:
        """Forget what was written so far; what a trial says is told from what the last one said."""
        self._log.seek(0)
        self._log.truncate()

    def close(self) -> None:
        """End the process and what it started."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self.is_running:
            self._process.kill()
        self._process.wait()
        self._selector.close()
        os.close(self._events)
        self._log.close()


def start_module(
    module: str, arguments: Sequence[str], *, log: IO[bytes], pipe: int, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start a module of ours in a process that is asked by its standard input and answers by a pipe.

    Args:
        module: Its full name.
        arguments: Its command line.
        log: Takes what the process and its libraries print.
        pipe: Descriptor of the end it writes to.
        environment: Variables it needs besides this process's own.
    """
    room = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [room, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        # -P: a profiler.py in the folder where the user is must not stand for ours.
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=(pipe,),
        env={**os.environ, **environment, "PYTHONPATH": path},
        text=True,
    )


def log_tail(log: IO[bytes], count: int) -> str:
    """Return the last lines of a log, joined to one."""
    log.flush()
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 8192))
    lines = log.read().decode(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-count:] if line.strip())


def kill_group(process_id: int) -> None:
    """Kill a trial and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process_id, signal.SIGKILL)  # before it had made its own group
