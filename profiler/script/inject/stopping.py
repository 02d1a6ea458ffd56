"""When a script has run long enough, and how it is stopped."""

from __future__ import annotations

# Peaks that have not grown for so many steps are taken to be the run's.
STABLE_STEPS = 2
# Without a number of steps, a script whose peak still grows (its batches differ) is stopped here.
MOST_STEPS = 20
# After the last training step an evaluation counts for so many batches.
EVALUATION_FORWARDS = 8


class Stopped(BaseException):
    """Ends the script; not an `Exception`, so that a script that goes on after errors does not catch it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"sizeup run has seen enough of this script ({reason})")
        self.reason = reason


class StepCount:
    """Counts optimizer steps, and says when there are enough.

    Args:
        least: Steps to run at least.
        is_exact: Whether to stop there in any case; else only once the peaks no longer grow.
    """

    def __init__(self, *, least: int, is_exact: bool) -> None:
        self._least, self._is_exact = least, is_exact
        self._by_optimizer: dict[int, int] = {}
        self._peaks: list[tuple[int, int]] = []
        self.evaluation_forwards = 0
        """Batches of evaluation since there were enough steps."""

    @property
    def ended(self) -> int:
        """How many optimizer steps have ended; where a loop has several optimizers, of the busiest."""
        return max(self._by_optimizer.values(), default=0)

    @property
    def last(self) -> int:
        """Number of the step that ended last, from 0: of it is what is evaluated and saved after it."""
        return max(self.ended - 1, 0)

    def end_step(self, optimizer: int, peaks: tuple[int, int]) -> bool:
        """Count the step of an optimizer.

        Args:
            optimizer: Its identity.
            peaks: Highest allocated and reserved bytes of the run so far.

        Returns:
            Whether it was a step of the loop, not another optimizer's part of one.
        """
        before = self.ended
        self._by_optimizer[optimizer] = self._by_optimizer.get(optimizer, 0) + 1
        if self.ended == before:
            return False
        self._peaks.append(peaks)
        return True

    @property
    def is_stable(self) -> bool:
        """Whether the last steps have raised no peak."""
        return len(self._peaks) > STABLE_STEPS and self._peaks[-1 - STABLE_STEPS] == self._peaks[-1]

    @property
    def is_enough(self) -> bool:
        """Whether no more steps are needed."""
        if self.ended < self._least:
            return False
        return self._is_exact or self.is_stable or self.ended >= max(MOST_STEPS, self._least)

    @property
    def reason(self) -> str:
        """Why it is enough."""
        return "steps" if self._is_exact or not self.is_stable else "stable"
