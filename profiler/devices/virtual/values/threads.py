"""Threads of torch's autograd for devices: they come to rest before Python shuts down.

Such a thread drops the Python objects of a backward pass after `backward()` has returned, and takes the GIL
for it (torch/csrc/autograd/engine.cpp, `thread_main`: the last reference to the `GraphTask`). Where Python
shuts down meanwhile, CPython before 3.14 ends the thread in the middle of C++ that may not be unwound, and
the process aborts: "terminate called without an active exception". The race is torch's; on a virtual GPU,
whose kernels take no time, a script that ends with `backward()` loses it more often than not.
"""

from __future__ import annotations

import contextlib
import pathlib
import time

_NAME_START = "pt_autograd_"
_LOOK_SECONDS = 0.001
_PATIENCE_SECONDS = 5.0


def wait_for_rest() -> None:
    """Give the GIL away until every device thread sleeps and was not awake since the last look.

    A thread that waits for the GIL sleeps too, but between two looks it gets it. A thread that does not come
    to rest in five seconds is left to itself.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    before, now = None, _device_threads()
    while now and (now != before or not all(is_asleep for is_asleep, _ in now.values())):
        if time.monotonic() > end:
            return
        time.sleep(_LOOK_SECONDS)
        before, now = now, _device_threads()


def _device_threads() -> dict[str, tuple[bool, str]]:
    """Return whether each device thread sleeps, and how often it went to sleep (man 5 proc_pid_status)."""
    found = {}
    for folder in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            lines = (folder / "status").read_text(errors="replace").splitlines()
            fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            if fields["Name"].startswith(_NAME_START):
                found[folder.name] = (fields["State"].startswith("S"), fields["voluntary_ctxt_switches"])
    return found
