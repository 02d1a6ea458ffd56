"""The process in which specs are traced; started as `python -m estimators.symbolic.server`.

It imports torch, transformers and peft once, and forks a child for each trace: what a trace changes in the
libraries is gone with it, and an exception in backward, which aborts the process, ends only the child.
Each line on standard input is a batch of requests in JSON; each line written to the answers is one answer.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from profiler.errors import NotPossibleError, SizeupError, UnreachableError, first_line
from profiler.harness.server import die_with_parent


def main() -> None:
    """Serve batches until standard input ends. Arguments: the supervisor's process id, the answers' pipe."""
    parent, answers = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    started = time.perf_counter()
    logging.disable(logging.WARNING)
    import estimators.symbolic.trace  # noqa: F401  # torch, transformers, peft: seconds

    seconds = time.perf_counter() - started
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        batch = json.loads(line)
        _serve(batch["requests"], batch["jobs"], answers, import_seconds=seconds)


def _serve(requests: list[dict[str, Any]], jobs: int, answers: int, *, import_seconds: float) -> None:
    waiting, running = list(enumerate(requests)), dict[int, int]()
    while waiting or running:
        while waiting and len(running) < jobs:
            number, request = waiting.pop(0)
            server = os.getpid()
            child = os.fork()
            if child == 0:
                die_with_parent(server)
                _trace(number, request, answers, import_seconds=import_seconds)
            running[child] = number
        ended, status = os.wait()
        if (code := os.waitstatus_to_exitcode(status)) != 0:
            _answer(answers, number=running[ended], event="died", code=code)
        running.pop(ended)
    _answer(answers, event="end")


def _trace(number: int, request: dict[str, Any], answers: int, *, import_seconds: float) -> None:
    """Trace, write the ledger to its file, answer, and end this process."""
    from estimators.ledger_file import write_ledger
    from estimators.symbolic.trace import trace
    from estimators.target import Target
    from profiler.spec import TrialSpec

    def refused(error: BaseException) -> None:
        """Answer why there is no ledger; of several answers, the first counts."""
        kind = "unreachable" if isinstance(error, UnreachableError) else "refused"
        message = (
            str(error) if isinstance(error, SizeupError) else f"{type(error).__name__}: {first_line(error)}"
        )
        _answer(answers, number=number, event=kind, message=message)

    try:
        started = time.perf_counter()
        target = Target(capability=tuple(request["capability"]), sm_count=request["sm_count"])
        spec = TrialSpec.from_canonical(request["spec"])
        ledger = trace(spec, target, steps=request["steps"], on_error=refused)
        ledger.facts["peak_resident_bytes"] = _peak_resident_bytes()
        ledger.facts["seconds"] = {"imports": import_seconds, "trace": time.perf_counter() - started}
        path = request["paths"][ledger.facts["depends_on_sm_count"]]
        write_ledger(ledger, Path(path))
        _answer(answers, number=number, event="traced", path=path)
    except BaseException as error:
        if not isinstance(error, NotPossibleError):
            traceback.print_exc()
        refused(error)
    finally:
        sys.stderr.flush()
        os._exit(0)


def _peak_resident_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of the two systems
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _answer(descriptor: int, **content: Any) -> None:
    os.write(descriptor, json.dumps(content).encode() + b"\n")  # short enough to stay whole among others


if __name__ == "__main__":
    main()
