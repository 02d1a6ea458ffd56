"""`TrainingTable`: measured configurations as columns, one row for all repeats of one configuration."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.features import CATEGORIES, NUMBERS
from estimators.learned.prediction import Question
from estimators.learned.state import stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from estimators.features import FeatureRow

NOISE_FLOOR = 0.01
"""Relative spread below which two measurements of one configuration are not told apart: identical GPUs differ
by 0.1 to 1.1 % (Lambda's sixteen H100 nodes)."""

UNKNOWN = ""
"""A category that is not known."""
_SAME = 1e-9
"""Logarithms that differ by less are equal."""
_NUMBER_OF = {name: place for place, name in enumerate(NUMBERS)}
_CATEGORY_OF = {name: place for place, name in enumerate(CATEGORIES)}


@stored
@dataclass(frozen=True, kw_only=True)
class FeatureFrame:
    """Features as columns, in the order of `NUMBERS` and `CATEGORIES`."""

    values: NDArray[np.float64]
    """Shape (rows, numbers); NaN where a number does not apply."""
    labels: NDArray[np.str_]
    """Shape (rows, categories); empty where a category is not known."""

    @classmethod
    def of(cls, rows: Sequence[FeatureRow]) -> FeatureFrame:
        """Return the columns of some rows."""
        values = [[row.numbers.get(name, np.nan) for name in NUMBERS] for row in rows]
        labels = [[row.categories.get(name, UNKNOWN) for name in CATEGORIES] for row in rows]
        return cls(
            values=np.array(values, dtype=float).reshape(len(rows), len(NUMBERS)),
            labels=np.array(labels, dtype=str).reshape(len(rows), len(CATEGORIES)),
        )

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.values)

    def number(self, name: str) -> NDArray[np.float64]:
        """Return a column of `NUMBERS`."""
        return self.values[:, _NUMBER_OF[name]]

    def category(self, name: str) -> NDArray[np.str_]:
        """Return a column of `CATEGORIES`."""
        return self.labels[:, _CATEGORY_OF[name]]

    def take(self, chosen: NDArray[Any]) -> FeatureFrame:
        """Return some of the rows, given by their numbers."""
        return FeatureFrame(values=self.values[chosen], labels=self.labels[chosen])

    @functools.cached_property
    def scaling(self) -> Scaling:
        """How the numbers of these rows are scaled."""
        return Scaling.of(self.values)


@stored
@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Logarithms of the numbers that differ between rows, less their mean, in standard deviations."""

    columns: NDArray[np.int64]
    """Which of `NUMBERS`: those that some row has and that are not the same in all."""
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Scaling:
        """Learn mean and deviation of each number, of the rows that have it."""
        known = ~np.isnan(values)
        counts = np.maximum(known.sum(axis=0), 1)
        logs = np.log(np.where(known, values, 1))
        means = logs.sum(axis=0) / counts
        deviations = np.sqrt((np.where(known, logs - means, 0) ** 2).sum(axis=0) / counts)
        columns = np.flatnonzero(deviations > _SAME)
        return cls(columns=columns, means=means[columns], deviations=deviations[columns])

    def apply(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the scaled numbers, shape (rows, columns); a number that is absent is at the mean."""
        logs = np.log(frame.values[:, self.columns])
        return np.nan_to_num((logs - self.means) / self.deviations, nan=0.0)


@stored
@dataclass(frozen=True, kw_only=True)
class TrainingTable:
    """Configurations with one figure that was measured of each."""

    frame: FeatureFrame
    values: NDArray[np.float64]
    """Median of the figure over the repeats; above 0."""
    log_spread: NDArray[np.float64]
    """Standard deviation of the figure's logarithm over the repeats; NaN where there was one."""
    repeats: NDArray[np.int64]
    moments: NDArray[np.float64]
    """When the first repeat was measured, in seconds since 1970."""
    groups: tuple[str, ...]
    """What is left out together as one configuration: the key of the spec."""
    labels: tuple[str, ...]
    """What a person calls each."""

    @property
    def size(self) -> int:
        """Number of configurations."""
        return len(self.values)

    def take(self, chosen: NDArray[Any]) -> TrainingTable:
        """Return some of the rows, given by their numbers."""
        return TrainingTable(
            frame=self.frame.take(chosen),
            values=self.values[chosen],
            log_spread=self.log_spread[chosen],
            repeats=self.repeats[chosen],
            moments=self.moments[chosen],
            groups=tuple(self.groups[number] for number in chosen),
            labels=tuple(self.labels[number] for number in chosen),
        )

    def groups_of(self, question: Question) -> tuple[str, ...]:
        """Return what each row belongs to, of which a question asks about a new one."""
        if question is Question.CONFIGURATION:
            return self.groups
        return tuple(self.frame.category(question.value).tolist())

    @functools.cached_property
    def log_values(self) -> NDArray[np.float64]:
        """Logarithm of the figure."""
        return np.log(self.values)

    @functools.cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each row, mean 1: the inverse variance of its median, the noise floor included."""
        known = self.log_spread[~np.isnan(self.log_spread)]
        typical = float(np.median(known)) if known.size else 0.0
        spread = np.where(np.isnan(self.log_spread), typical, self.log_spread)
        weights = 1 / (NOISE_FLOOR**2 + spread**2 / self.repeats)
        return np.asarray(weights / weights.mean(), dtype=np.float64)
