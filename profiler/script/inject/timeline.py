"""Phases and steps of a script, and the peaks of memory between their borders."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .user_code import current_line

if TYPE_CHECKING:
    from .allocator_peaks import AllocatorPeaks
    from .events import Events

LOAD, FORWARD, BACKWARD, OPTIMIZER = "load", "forward", "backward", "optimizer"
EVALUATION, SAVE = "evaluation", "save"


@dataclass(frozen=True, kw_only=True)
class Border:
    """Where a phase begins."""

    microseconds: int
    """By the wall clock, which torch's memory history uses, too."""
    phase: str
    step: int
    """Number of the optimizer step, from 0."""
    line: str | None
    """The user's line that began it."""


class Timeline:
    """Follows a script from phase to phase. A phase lasts until the next one begins.

    Args:
        peaks: The allocator's.
        events: Takes the peaks of each phase as it ends.
    """

    def __init__(self, peaks: AllocatorPeaks, events: Events) -> None:
        self._peaks, self._events = peaks, events
        self.borders: list[Border] = [Border(microseconds=0, phase=LOAD, step=0, line=None)]
        self.highest = (0, 0)
        """Peaks of allocated and reserved bytes of the whole run so far."""

    @property
    def now(self) -> Border:
        """The phase that is going on."""
        return self.borders[-1]

    def begin(self, phase: str, *, step: int) -> None:
        """End the phase that goes on, and begin another; nothing if it is the one that goes on."""
        if (phase, step) == (self.now.phase, self.now.step):
            return
        self.end()
        now = time.time_ns() // 1000
        self.borders.append(Border(microseconds=now, phase=phase, step=step, line=current_line()))

    def end(self) -> None:
        """Take the peaks of the phase that goes on."""
        allocated, reserved = self._peaks.take()
        self.highest = (max(self.highest[0], allocated), max(self.highest[1], reserved))
        if allocated or reserved:
            self._events.write(
                "phase",
                phase=self.now.phase,
                step=self.now.step,
                peak_allocated_bytes=allocated,
                peak_reserved_bytes=reserved,
            )
