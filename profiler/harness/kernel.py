"""Whether the Linux kernel killed a process because memory ran out."""

from __future__ import annotations

import re
from pathlib import Path


def oom_kills() -> int | None:
    """Return how often the kernel has killed for memory so far, or None where it does not say.

    Counted for the whole machine (`oom_kill` of /proc/vmstat) and for this process's cgroup
    (`oom_kill` of memory.events), whichever exist; a container sees only the second.
    """
    counts = [_count(path) for path in (Path("/proc/vmstat"), *_cgroup_events())]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _cgroup_events() -> list[Path]:
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    unified = [entry.split("::", 1)[1] for entry in entries if "::" in entry]
    return [Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.events" for path in unified]


def _count(path: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", path.read_text(), flags=re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
