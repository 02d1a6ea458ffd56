"""What a prediction begins with: physics, or the baselines that physics has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from estimators.learned.distance import Distance
from estimators.learned.state import stored
from estimators.learned.table import NOISE_FLOOR
from estimators.learned.targets import ONE
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.learned.table import FeatureFrame, TrainingTable

_SMALLEST = 1e-12
"""What a figure is at least: a logarithm needs more than 0."""
_ROUNDS = 20
"""Of reweighting."""
_SECONDS_OF = {"compute_16bit_seconds": "flops_16bit", "compute_other_seconds": "flops_other"}
"""Times at the peak rate, and the work that they are of, which a step may have none of."""


class Base(Protocol):
    """Gives the logarithm of the figure."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    def knows(self, frame: FeatureFrame) -> NDArray[np.bool_]:
        """Return for each row whether it has the features that are needed."""
        ...

    def fit(self, table: TrainingTable) -> Self:
        """Return it with its factors found."""
        ...

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the figure of each row."""
        ...


@stored
@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What an engine predicts without any measurement."""

    feature: str

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "symbolic engine"

    def knows(self, frame: FeatureFrame) -> NDArray[np.bool_]:
        """Return for each row whether the engine predicts it."""
        return ~np.isnan(column(frame, self.feature))

    def fit(self, table: TrainingTable) -> Self:
        """Return itself: nothing is fitted."""
        return self

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the engine's prediction."""
        return np.log(np.maximum(column(frame, self.feature), _SMALLEST))


@stored
@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """A sum of features with factors of at least 0 that make the relative errors smallest.

    Minimises the weighted sum of (prediction / measurement - 1)^2 (Lawson and Hanson, Solving Least Squares
    Problems, 1974, chapter 23).
    """

    terms: tuple[str, ...]
    factors: NDArray[np.float64] | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"least squares on {', '.join(term.removesuffix('_seconds') for term in self.terms)}"

    def knows(self, frame: FeatureFrame) -> NDArray[np.bool_]:
        """Return for each row whether it has the terms; work that a step has none of is known to be none."""
        known = np.ones(frame.size, dtype=bool)
        for term in self.terms:
            lacks = np.isnan(column(frame, term))
            if term in _SECONDS_OF:
                lacks &= ~np.isnan(column(frame, _SECONDS_OF[term]))
            if term not in _SECONDS_OF.values():
                known &= ~lacks
        return known

    def fit(self, table: TrainingTable) -> Self:
        """Return it with its factors."""
        from scipy.optimize import nnls  # type: ignore[import-untyped]

        columns = self._columns(table.frame)
        scale = np.abs(np.nan_to_num(columns)).max(axis=0)
        scale[scale == 0] = 1
        weights = np.sqrt(table.weights)
        relative = np.nan_to_num(columns) / scale / table.values[:, None]
        factors, _ = nnls(relative * weights[:, None], weights)
        return replace(self, factors=factors / scale)

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the sum."""
        if self.factors is None:
            raise NotPossibleError("least squares were not fitted")
        figures = np.nan_to_num(self._columns(frame)) @ self.factors
        return np.asarray(np.log(np.maximum(figures, _SMALLEST)), dtype=np.float64)

    def _columns(self, frame: FeatureFrame) -> NDArray[np.float64]:
        return np.array([column(frame, term) for term in self.terms]).T


@stored
@dataclass(frozen=True, kw_only=True)
class LeastAbsolute(LeastSquares):
    """The same sum with factors that make the absolute relative errors smallest.

    A few rows whose figure does not follow from the terms do not bend it. By least squares
    whose weights are the inverse of the last errors (Schlossmacher, JASA 68, 1973).
    """

    @property
    def name(self) -> str:
        """What a person calls it."""
        return super().name.replace("least squares", "least absolute errors")

    def fit(self, table: TrainingTable) -> Self:
        """Return it with its factors."""
        from scipy.optimize import nnls

        columns = np.nan_to_num(self._columns(table.frame))
        scale = np.abs(columns).max(axis=0)
        scale[scale == 0] = 1
        relative, weights = columns / scale / table.values[:, None], table.weights
        for _ in range(_ROUNDS):
            roots = np.sqrt(weights)
            factors, _ = nnls(relative * roots[:, None], roots)
            weights = table.weights / np.maximum(np.abs(relative @ factors - 1), NOISE_FLOOR)
        return replace(self, factors=factors / scale)


@stored
@dataclass(frozen=True, kw_only=True)
class Median:
    """The median of all figures, whatever is asked: the plainest baseline."""

    log_median: float = 0.0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "median"

    def knows(self, frame: FeatureFrame) -> NDArray[np.bool_]:
        """Return true for each row."""
        return np.ones(frame.size, dtype=bool)

    def fit(self, table: TrainingTable) -> Self:
        """Return it with the median."""
        return replace(self, log_median=float(np.median(table.log_values)))

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return its logarithm for each row."""
        return np.full(frame.size, self.log_median)


@stored
@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The figure of the measured configuration that is nearest."""

    distance: Distance | None = None
    log_values: NDArray[np.float64] | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "nearest neighbour"

    def knows(self, frame: FeatureFrame) -> NDArray[np.bool_]:
        """Return true for each row."""
        return np.ones(frame.size, dtype=bool)

    def fit(self, table: TrainingTable) -> Self:
        """Return it with the measured configurations."""
        return replace(self, distance=Distance.of(table.frame), log_values=table.log_values)

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the nearest one's figure for each row."""
        if self.distance is None or self.log_values is None:
            raise NotPossibleError("the nearest neighbour was not fitted")
        return np.asarray(self.log_values[self.distance.to(frame).argmin(axis=1)], dtype=np.float64)


def column(frame: FeatureFrame, name: str) -> NDArray[np.float64]:
    """Return a feature, or one of the two that are made of features: `one` and `flops`."""
    if name == ONE:
        return np.ones(frame.size)
    if name == "flops":
        parts = [frame.number("flops_16bit"), frame.number("flops_other")]
        return np.asarray(np.nansum(parts, axis=0), dtype=np.float64)
    return frame.number(name)
