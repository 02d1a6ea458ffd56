"""CV+ intervals: how far a prediction may be off, by rows that its models did not see.

CV+ (Barber, Candès, Ramdas and Tibshirani, Predictive inference with the jackknife+, Annals of Statistics
49(1), 2021): row i was predicted by the model fitted without its fold, and missed by R_i. At a new x, each of
these models predicts again, and the ends of the interval are order statistics of prediction ± R_i. It is
guaranteed to cover with 1 - 2a where 1 - a is asked for, and covers with about 1 - a in practice. Residuals
are divided by a difficulty of their row and multiplied by that of x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.learned.state import stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_GROUPS = 4
"""Of fewer models, methods or devices nothing is claimed about another one."""


def fewest_rows(level: float) -> int:
    """Return the fewest residuals with which an interval of a level has two ends: ceil(1/a) - 1."""
    return math.ceil(round(1 / (1 - level), 9)) - 1


def widening(groups: int, level: float) -> float:
    """Return the factor for residuals of groups, whose rows are off together: few say little of another one.

    t / z · sqrt(1 + 1/G), with the quantiles of Student's distribution with G - 1 degrees of freedom and of
    the normal one: what the prediction interval of a normal sample of G is wider than one with known variance
    (Hahn and Meeker, Statistical Intervals, 1991, section 4.7).

    Args:
        groups: Groups that were left out in turn.
        level: Level of the interval.
    """
    from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]

    upper = (1 + level) / 2
    return float(stdtrit(groups - 1, upper) / ndtri(upper)) * math.sqrt(1 + 1 / groups)


@stored
@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Residuals of left-out rows, from which intervals are made."""

    fold: NDArray[np.int64]
    """Of each row."""
    scores: NDArray[np.float64]
    """Signed residual of each row over its difficulty, widened."""

    def interval(
        self, by_fold: NDArray[np.float64], difficulty: float, *, level: float
    ) -> tuple[float, float] | None:
        """Return the ends of the CV+ interval; None where rows are too few for the level.

        Args:
            by_fold: What the model of each fold predicts.
            difficulty: That of the question.
            level: 1 - a.
        """
        count = len(self.scores)
        if count < fewest_rows(level):
            return None
        # Products such as 0.1 · 10 are not exact: rounding keeps the order statistic meant.
        lower = math.floor(round((1 - level) * (count + 1), 9))
        upper = math.ceil(round(level * (count + 1), 9))
        reach, centre = np.abs(self.scores) * difficulty, by_fold[self.fold]
        return float(np.sort(centre - reach)[lower - 1]), float(np.sort(centre + reach)[upper - 1])

    def outcomes(self, by_fold: NDArray[np.float64], difficulty: float) -> NDArray[np.float64]:
        """Return equally likely outcomes in ascending order: prediction and signed residual of each row."""
        return np.sort(by_fold[self.fold] + self.scores * difficulty)
