"""Memory of this process as Linux accounts for it; None where there is no /proc."""

from __future__ import annotations

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def status_bytes(field: str) -> int | None:
    """Return a field of /proc/self/status in bytes, such as `VmRSS` (resident set) or `VmHWM` (its peak)."""
    try:
        text = _STATUS.read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def reset_peak_resident() -> bool:
    """Let `VmHWM` start anew from the resident set of now; return whether the kernel allowed it (proc(5))."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True
