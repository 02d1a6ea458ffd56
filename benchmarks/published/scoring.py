"""Errors of predictions over the rows of a file, and the interval that they allow to be stated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Absolute relative errors of some rows, as fractions."""

    rows: int
    median: float
    p90: float
    worst: float

    @classmethod
    def of(cls, errors: Sequence[float]) -> Summary:
        """Summarise signed errors, of which there is at least one."""
        sizes = sorted(abs(error) for error in errors)
        return cls(
            rows=len(sizes),
            median=median(sizes),
            p90=sizes[math.ceil(0.9 * len(sizes)) - 1],
            worst=sizes[-1],
        )


def signed_error(predicted: float, measured: float) -> float:
    """Return (predicted - measured) / measured: above 0 where too much was predicted."""
    return (predicted - measured) / measured


def residual_interval(residuals: Sequence[float], level: float) -> tuple[float, float]:
    """Return the interval that a further residual is in with at least probability `level`.

    The bounds are order statistics of ranks out of n + 1, as in split conformal prediction (Lei et al. 2018,
    https://doi.org/10.1080/01621459.2017.1307116), rounded outward.

    Args:
        residuals: (measured - predicted) / predicted of each row.
        level: Between 0 and 1; half of what is left is on each side.

    Raises:
        SizeupError: If so few rows cannot give such a level.
    """
    ordered = sorted(residuals)
    tail = round((1 - level) / 2 * (len(ordered) + 1), 9)
    rank = math.floor(tail)
    if rank < 1:
        raise SizeupError(f"{len(ordered)} rows are too few for an interval of {level:.0%}")
    return ordered[rank - 1], ordered[-rank]
