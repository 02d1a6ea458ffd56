"""`Tracer`: traces specs in processes of their own, or takes their ledgers from the cache."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from estimators.cache import cached_path
from estimators.ledger_file import read_ledger
from profiler.errors import NotPossibleError, SizeupError, UnreachableError
from profiler.harness.process import log_tail, start_module
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from types import TracebackType

    from estimators.ledger import Ledger
    from estimators.target import Target
    from profiler.spec import TrialSpec

_STEPS = 3  # without optimizer state, with it, and with all that a step leaves behind
_STEPS_OF_A_HISTOGRAM = 16
_MOST_STEPS = 64


def steps_of(spec: TrialSpec) -> int:
    """Return how many optimizer steps tell the peak of a spec: of varying lengths, more than three."""
    if isinstance(spec.lengths, tuple):
        return min(max(_STEPS, len(spec.lengths)), _MOST_STEPS)
    return _STEPS if spec.lengths is None else _STEPS_OF_A_HISTOGRAM


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """One trace to be had."""

    spec: TrialSpec
    target: Target
    steps: int | None = None
    """Optimizer steps; None takes `steps_of` the spec."""

    @property
    def steps_to_take(self) -> int:
        """Optimizer steps of the trace."""
        return self.steps or steps_of(self.spec)

    @property
    def but_for_multiprocessors(self) -> dict[str, Any]:
        """What most ledgers follow from: all but the number of multiprocessors."""
        return {
            "spec": self.spec.canonical,
            "capability": self.target.capability,
            "steps": self.steps_to_take,
        }

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where the cache has the ledger: one that does not depend on multiprocessors, and one that does."""
        content = self.but_for_multiprocessors
        return cached_path("ledger", content), cached_path("ledger", {**content, "sm": self.target.sm_count})


class Tracer:
    """Gives the ledgers of specs, several at a time.

    The process that imports torch starts with the first trace that the cache does not have, and serves until
    the tracer is closed. Use it in a `with` block.

    Args:
        jobs: How many traces run at once; by default as many as there are cores, at most four.
    """

    def __init__(self, *, jobs: int | None = None) -> None:
        self._jobs = jobs or min(_cores(), 4)
        self._process: subprocess.Popen[str] | None = None
        self._log: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def trace(self, spec: TrialSpec, target: Target, *, steps: int | None = None) -> Ledger:
        """Return the ledger of a spec.

        Raises:
            NotPossibleError: If a library refuses the spec, or only a run can tell what it does.
            UnreachableError: If its configuration is on a hub that does not answer.
        """
        (result,) = self.trace_all([TraceRequest(spec=spec, target=target, steps=steps)])
        if isinstance(result, SizeupError):
            raise result
        return result

    def trace_all(self, requests: Sequence[TraceRequest]) -> list[Ledger | SizeupError]:
        """Return a ledger for each request, or the error that says why there is none."""
        results: list[Ledger | SizeupError | None] = [
            _refusal(request) or _cached(request) for request in requests
        ]
        depending = set[str]()
        while missing := [number for number, result in enumerate(results) if result is None]:
            # Of GPUs that differ in their multiprocessors only, one is traced first: most ledgers do not
            # depend on them, and are those of the others, too.
            groups: dict[str, list[int]] = {}
            for number in missing:
                name = canonical_json(requests[number].but_for_multiprocessors)
                groups.setdefault(f"{name} {number}" if name in depending else name, []).append(number)
            traced = self._trace([requests[group[0]] for group in groups.values()])
            for (name, group), result in zip(groups.items(), traced, strict=True):
                if not isinstance(result, SizeupError) and result.facts["depends_on_sm_count"]:
                    depending.add(name)
                    group = group[:1]
                for number in group:
                    results[number] = result
        return [result for result in results if result is not None]

    def _trace(self, requests: Sequence[TraceRequest]) -> list[Ledger | SizeupError]:
        with contextlib.ExitStack() as stack:
            paths = [request.paths for request in requests]
            if not _is_writable(paths[0][0].parent):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sizeup-ledgers-")))
                paths = [(folder / shared.name, folder / own.name) for shared, own in paths]
            return [self._result(answer) for answer in self._ask(requests, paths)]

    def _ask(
        self, requests: Sequence[TraceRequest], paths: Sequence[tuple[Path, Path]]
    ) -> list[dict[str, Any]]:
        lines = [
            {
                "spec": request.spec.canonical,
                "capability": request.target.capability,
                "sm_count": request.target.sm_count,
                "steps": request.steps_to_take,
                "paths": [str(path) for path in pair],
            }
            for request, pair in zip(requests, paths, strict=True)
        ]
        process = self._started()
        answers: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(json.dumps({"requests": lines, "jobs": self._jobs}) + "\n")
            process.stdin.flush()
        while line := self._answers.readline():
            answer = json.loads(line)
            if answer["event"] == "end":
                break
            answers.setdefault(answer["number"], answer)  # the reason comes before the death
        died = {"event": "died", "code": process.poll()}
        return [answers.get(number, died) for number in range(len(requests))]

    def _result(self, answer: dict[str, Any]) -> Ledger | SizeupError:
        match answer["event"]:
            case "traced":
                if (ledger := read_ledger(Path(answer["path"]))) is not None:
                    return ledger
                return NotPossibleError(f"the trace could not be read back from {answer['path']}")
            case "unreachable":
                return UnreachableError(answer["message"])
            case "refused":
                return NotPossibleError(answer["message"])
        return NotPossibleError(
            f"the process of the trace ended with code {answer['code']}: {log_tail(self._log, 2)}"
        )

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if not hasattr(os, "fork"):
            raise NotPossibleError("traces run in forked processes, which Windows does not have: use WSL")
        self.close()
        self._log = tempfile.TemporaryFile(prefix="sizeup-trace-")  # noqa: SIM115  # closed in `close`
        read_end, write_end = os.pipe()
        self._process = start_module(
            "estimators.symbolic.server",
            [str(os.getpid()), str(write_end)],
            log=self._log,
            pipe=write_end,
            environment={"CUDA_VISIBLE_DEVICES": ""},
        )
        os.close(write_end)
        self._answers = os.fdopen(read_end, encoding="utf-8")
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process = None
        self._answers.close()
        self._log.close()


def _refusal(request: TraceRequest) -> NotPossibleError | None:
    parallel = request.spec.parallel
    if parallel == "none":
        return None
    return NotPossibleError(
        f"parallel {parallel} cannot be predicted: the symbolic engine executes one process on one GPU, so "
        "only parallel none can"
    )


def _cached(request: TraceRequest) -> Ledger | None:
    shared, own = request.paths
    return read_ledger(shared) or read_ledger(own)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what this process may use, where that is known
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
