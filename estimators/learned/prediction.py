"""`Prediction` and `Estimator`: what every learned predictor takes and gives.

An estimator learns one figure, such as `peak_process_bytes` or `step_seconds_median`, from a `TrainingTable`
(`estimators.learned.table`), whose rows are configurations: repeats of one configuration are one row. Its
answers are `Prediction`s, each with an interval, the level it was calibrated at, what it rests on, and
whether the question is inside the data. Whoever decides on them (planner, suggestions) needs nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from estimators.learned.state import stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from estimators.features import FeatureRow
    from estimators.learned.table import TrainingTable


@stored
class Question(enum.StrEnum):
    """What is new about a configuration; intervals are calibrated for each of these apart."""

    CONFIGURATION = "configuration"
    """Model, method and device were measured, but not with these settings."""
    METHOD = "method"
    MODEL = "model"
    DEVICE = "device"


class Status(enum.StrEnum):
    """Whether a configuration is inside the data."""

    OK = "ok"
    CAUTION = "caution"
    """Outside in one respect: the figure may be worse than its interval says."""
    REFUSE = "refuse"
    """So far outside that no figure is given; the nearest measured rows are."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A measured configuration near the one asked about."""

    label: str
    figure: float
    distance: float
    """In standard deviations of the measured settings, root of the mean square; 1 for each other category."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a prediction rests on."""

    configurations: int
    measurements: int
    model: str
    """What was chosen by validation, such as `least squares + constant`."""
    question: Question
    calibrated_by: str | None
    """Which left-out rows the interval rests on; None where there is no interval."""
    no_interval_because: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One figure of one configuration, in the unit of the figure's name."""

    figure: float | None
    """None where it is refused."""
    low: float | None
    """Ends of the interval; None where too little was measured to claim one."""
    high: float | None
    level: float
    """Probability that a measurement falls into the interval, such as 0.9."""
    outcomes: tuple[float, ...]
    """Equally likely outcomes in ascending order, by the left-out residuals; empty without an interval."""
    basis: Basis
    status: Status
    reasons: tuple[str, ...]
    """Why it is not `ok`."""
    nearest: tuple[Neighbour, ...]

    def probability_below(self, limit: float) -> float | None:
        """Return the probability that the figure does not exceed a limit; None without an interval.

        The rank of the limit among the n outcomes, as (rank + 1/2) / (n + 1): never quite 0 or 1.
        """
        if not self.outcomes:
            return None
        below = sum(outcome <= limit for outcome in self.outcomes)
        return (below + 0.5) / (len(self.outcomes) + 1)


class Estimator(Protocol):
    """Learns one figure of configurations, and predicts it for others."""

    @property
    def target(self) -> str:
        """Name of the figure, which says its unit."""
        ...

    def fit(self, table: TrainingTable) -> Self:
        """Return a fitted estimator; the same table always gives the same one.

        Raises:
            NotPossibleError: If the table has no row.
        """
        ...

    def predict(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        """Return a prediction for each row.

        Raises:
            NotPossibleError: If it was not fitted.
        """
        ...

    def save(self, path: Path) -> None:
        """Write it to a file that only this installation reads back.

        Raises:
            NotPossibleError: If it was not fitted.
            OSError: If the file cannot be written.
        """
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back.

        Raises:
            SizeupError: If the file is not there, was changed, or was written by another installation.
        """
        ...
