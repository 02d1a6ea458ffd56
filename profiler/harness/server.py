"""The process in which trials run; started by the supervisor as `python -m profiler.harness.server`.

It imports what every trial needs and computes nothing. For a device that forks, each request is answered by
a child forked from it, which is as fresh as a new process and a few seconds sooner; otherwise this process
runs one trial itself and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.harness.messages import Reporter, TrialRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that made it ends; exit if it has (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_killed_first() -> None:
    """Make this process the first that the kernel kills when memory runs out (proc(5), oom_score_adj)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def limit_memory(limit_bytes: int | None) -> None:
    """Let allocations fail beyond `limit_bytes` more than this process has now (default: what is available).

    The limit is on private writable memory (RLIMIT_DATA, setrlimit(2)): mapped libraries do not count.
    """
    import resource

    import psutil

    from profiler.devices.procfs import status_bytes

    held = status_bytes("VmData")
    if held is None:
        return
    if limit_bytes is None:
        limit_bytes = psutil.virtual_memory().available
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = held + limit_bytes
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)  # only root may raise a hard limit
    with contextlib.suppress(OverflowError, ValueError, OSError):  # more than a machine can have is no limit
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve trials until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    parser.add_argument("--events", type=int, required=True, help="descriptor of the pipe for events")
    parser.add_argument("--fork", action="store_true", help="fork a child for each trial")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to answer
    report = Reporter(options.events)

    import profiler.harness.trial  # torch, transformers, peft: seconds

    report("ready")
    if not options.fork:
        os.setpgid(0, 0)
        be_killed_first()
        if line := sys.stdin.readline():
            profiler.harness.trial.run_trial(TrialRequest.from_line(line), report)
        return
    gc.collect()
    gc.freeze()  # what is imported never needs to be looked at again, nor copied for it
    for line in sys.stdin:
        _fork(TrialRequest.from_line(line), report)


def _fork(request: TrialRequest, report: Reporter) -> None:
    from profiler.harness.trial import run_trial

    server = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)  # its own process group: a time-out kills it and what it started, nothing else
            die_with_parent(server)
            be_killed_first()
            limit_memory(request.protocol.memory_limit_bytes)
            report("started", process=os.getpid(), monotonic_seconds=time.monotonic())
            run_trial(request, report)
            status = 0
        except BaseException:
            traceback.print_exc()  # into the log, whose end becomes the row's message
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if sys.platform == "linux":
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # ended, but its id is not free yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # what it started and left behind
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    report("exited", code=code)


if __name__ == "__main__":
    main()
