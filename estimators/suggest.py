"""Which trial to run next: what a measurement is expected to bring, by what is believed before it.

A belief about a positive figure is a Student distribution of its logarithm, around the prediction and as wide
as the predictor was wrong on rows that it had not seen: with few of them, its tails are long.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from estimators.learned.table import NOISE_FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from estimators.learned import Configuration, Prediction

_QUANTILES = 200


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What is believed of a figure before it is measured."""

    log_centre: float
    log_scale: float
    degrees_of_freedom: int

    @classmethod
    def of(cls, prediction: Prediction) -> Belief | None:
        """Return the belief of a prediction; None where fewer than two left-out rows tell how wrong it is.

        The scale is the root mean square of the n outcomes' distances from the figure, times
        sqrt(1 + 1/n), as of a further observation of a normal sample.
        """
        if prediction.figure is None or len(prediction.outcomes) < 2:
            return None
        centre, count = float(np.log(prediction.figure)), len(prediction.outcomes)
        reach = np.log(prediction.outcomes) - centre
        scale = float(np.sqrt((reach**2).mean() * (1 + 1 / count)))
        return cls(log_centre=centre, log_scale=max(scale, NOISE_FLOOR), degrees_of_freedom=count - 1)

    def times(self, factor: float) -> Belief:
        """Return the belief about the figure times a factor."""
        return Belief(
            log_centre=self.log_centre + float(np.log(factor)),
            log_scale=self.log_scale,
            degrees_of_freedom=self.degrees_of_freedom,
        )

    def expected_improvement(self, best: float) -> float:
        """Return by what part of `best` the figure is expected to fall below it.

        E[max(0, 1 - X / best)] (Mockus 1975; Jones, Schonlau and Welch 1998, eq. 14), over the midpoints of
        equally likely parts of the distribution.
        """
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        parts = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        figures = np.exp(self.log_centre + self.log_scale * stdtrit(self.degrees_of_freedom, parts))
        return float(np.maximum(1 - figures / best, 0).mean())


def correlations(distances: NDArray[np.float64], typical_distance: float) -> NDArray[np.float64]:
    """Return how much the errors of predictions go together, exp(-d²/2) at a distance of d typical ones.

    Args:
        distances: Between configurations.
        typical_distance: Between neighbours; 0 where all are at one place.
    """
    if typical_distance <= 0:
        return np.asarray(distances <= 0, dtype=np.float64)
    return np.asarray(np.exp(-((distances / typical_distance) ** 2) / 2), dtype=np.float64)


def variance_after(
    variances: NDArray[np.float64], correlation: NDArray[np.float64], measured: int, noise: float
) -> NDArray[np.float64]:
    """Return the variance of each configuration's logarithm once one of them is measured.

    s_j² (1 - c_ij² s_i² / (s_i² + noise²)): conditioning of a Gaussian process (Rasmussen and Williams,
    Gaussian Processes for Machine Learning, 2006, eq. 2.26).

    Args:
        variances: Before.
        correlation: Between all, shape (n, n).
        measured: Number of the one.
        noise: Standard deviation of the logarithms of repeats.
    """
    learned = variances[measured] / (variances[measured] + noise**2)
    return np.asarray(variances * (1 - correlation[measured] ** 2 * learned), dtype=np.float64)


def variance_removed(
    variances: NDArray[np.float64], correlation: NDArray[np.float64], noise: float
) -> NDArray[np.float64]:
    """Return by how much a measurement of each configuration lowers the sum of all variances.

    What Cohn (Neural exploration using optimal experiment design, Neural Networks 9(6), 1996) minimises, by
    `variance_after`.
    """
    learned = variances / (variances + noise**2)
    return np.asarray((correlation**2 @ variances) * learned, dtype=np.float64)


def repeat_noise(found: Iterable[Configuration], figure: str) -> float:
    """Return the standard deviation of the logarithm of a figure over repeats, pooled; at least the floor."""
    squares, degrees = 0.0, 0
    for one in found:
        logs = np.log(one.figures.get(figure, ()))
        if len(logs) > 1:
            squares += float(((logs - logs.mean()) ** 2).sum())
            degrees += len(logs) - 1
    return max(NOISE_FLOOR, float(np.sqrt(squares / degrees)) if degrees else 0.0)


@dataclass(frozen=True, kw_only=True)
class TrialCost:
    """What trials took, from which follows what others will take: overhead and steps times their seconds."""

    overhead_seconds: float
    """Of a trial, beside its steps: start, loading, separate passes."""
    steps: float

    @classmethod
    def of(cls, trials: Sequence[tuple[float, float, float]]) -> TrialCost | None:
        """Learn from trials that were measured; None if there are none.

        Args:
            trials: Of each, the seconds of the whole trial, its steps, and the seconds of a step.
        """
        if not trials:
            return None
        return cls(
            overhead_seconds=median(max(0.0, whole - steps * step) for whole, steps, step in trials),
            steps=median(steps for _, steps, _ in trials),
        )
