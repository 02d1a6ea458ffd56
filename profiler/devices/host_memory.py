"""Memory that the host did not give, as torch and Python report it."""

from __future__ import annotations

import errno
import re

from profiler.devices.protocol import Failure
from profiler.errors import first_line
from profiler.measurement import Outcome, Reason

_TEXTS = ("can't allocate memory", "std::bad_alloc")  # torch makes a RuntimeError of the second


def host_out_of_memory(error: BaseException) -> Failure | None:
    """Return what an exception says of host memory running out, or None if it says nothing of it."""
    message = str(error)
    asked = re.search(r"tried to allocate (\d+) bytes", message)
    is_short = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if not asked and not is_short and not any(text in message for text in _TEXTS):
        return None
    return Failure(
        outcome=Outcome.OOM,
        reason=Reason.HOST_OOM,
        message=f"the host gave no more memory: {first_line(error)}",
        figures={"oom_requested_bytes": int(asked[1])} if asked else {},
    )
