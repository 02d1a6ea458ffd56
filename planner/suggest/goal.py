"""What is looked for: a map of the space, or the best trial under limits."""

from __future__ import annotations

import enum
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.learned.targets import find_target
from profiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators.learned import Configuration
    from profiler.spec import TrialSpec

TIME = "step_seconds_median"
MEMORY = ("peak_process_bytes", "peak_reserved_bytes", "peak_allocated_bytes")
"""Figures of memory, the one that decides whether a trial fits first."""


class Objective(enum.StrEnum):
    """What is looked for."""

    MAP = "map"
    """Know the figure everywhere."""
    BEST = "best"
    """Find the trial whose figure is lowest."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a figure of a trial may be at most, in the unit of its name."""

    figure: str
    most: float

    def __post_init__(self) -> None:
        find_target(self.figure)
        if not self.most > 0:
            raise UsageError(f"the limit of {self.figure} must be above 0, not {self.most}")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is looked for, in which figure, and under which limits."""

    objective: Objective
    figure: str = TIME
    """Which of `estimators.learned.TARGETS`; of the time, that of a sample, because batches differ."""
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        find_target(self.figure)

    @property
    def figures(self) -> tuple[str, ...]:
        """Every figure that has to be known: its own, those of the limits, and the time as the cost."""
        return tuple(dict.fromkeys([self.figure, *(limit.figure for limit in self.limits), TIME]))

    def per_sample(self, spec: TrialSpec) -> float:
        """Return what a spec's figure is multiplied by to be compared with that of other specs."""
        if self.figure != TIME:
            return 1.0
        return 1 / (spec.batch_size * spec.gradient_accumulation * spec.world_size)

    def is_within_limits(self, measured: Configuration) -> bool:
        """Whether a measured configuration is known to keep to every limit."""
        return all(
            limit.figure in measured.figures and _median(measured, limit.figure) <= limit.most
            for limit in self.limits
        )

    def value(self, measured: Configuration) -> float | None:
        """Return what is compared of a measured configuration; None where it was not measured."""
        if self.figure not in measured.figures:
            return None
        return _median(measured, self.figure) * self.per_sample(measured.spec)


def memory_figure(found: Sequence[Configuration]) -> str:
    """Return the figure of memory that most of the measured configurations have."""
    counts = {name: sum(name in one.figures for one in found) for name in MEMORY}
    return max(MEMORY, key=lambda name: counts[name])


def _median(measured: Configuration, figure: str) -> float:
    return statistics.median(measured.figures[figure])
