"""Waiting for processes to end, without asserting any time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE_SECONDS = 60


def is_gone(process_id: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(holds: Callable[[], bool]) -> bool:
    """Poll until something holds; False if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def all_gone(process_ids: Iterable[int]) -> bool:
    """Wait until every process has ended."""
    ids = list(process_ids)
    return wait_until(lambda: all(is_gone(process_id) for process_id in ids))


def with_marker(name: str, value: str) -> list[int]:
    """Return the ids of the living processes that have an environment variable."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def descendants(*, of: str = "") -> list[int]:
    """Return the ids of the living processes that this one started, and theirs.

    Args:
        of: Only those that run this module, or were forked from what does.
    """
    living = [process for process in psutil.Process().children(recursive=True) if not is_gone(process.pid)]
    return [process.pid for process in living if not of or of in " ".join(process.cmdline())]
