"""What the timed steps of one process say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

# Steps whose spread decides whether times have settled.
STABLE_WINDOW = 10


def summarize_steps(seconds: Sequence[float]) -> dict[str, float | int]:
    """Return the figures of timed steps, in seconds.

    The 95 % interval of the median rests on order statistics: the number of steps below the true median is
    binomial(n, 1/2), whatever the distribution. It holds for this process; another process differs by more,
    which only repeats can show. Below six steps there is no such interval, and it is absent.
    """
    ordered = np.sort(np.asarray(seconds, dtype=float))
    figures: dict[str, float | int] = {
        "step_seconds_median": float(np.median(ordered)),
        "step_seconds_p05": float(np.quantile(ordered, 0.05)),
        "step_seconds_p95": float(np.quantile(ordered, 0.95)),
        "steps_timed": len(ordered),
    }
    if rank := median_interval_rank(len(ordered)):
        figures["step_seconds_ci95_low"] = float(ordered[rank - 1])
        figures["step_seconds_ci95_high"] = float(ordered[-rank])
    return figures


def median_interval_rank(count: int) -> int:
    """Return the largest rank r for which [r-th smallest, r-th largest] covers the median with 95 %.

    0 if there is none. P(outside) = 2 P(X < r) with X ~ binomial(count, 1/2) (Conover, Practical
    Nonparametric Statistics, 3rd ed., section 3.2).
    """
    from math import comb

    outside, rank = 0.0, 0
    while rank <= count // 2:
        outside += 2 * comb(count, rank) * 0.5**count
        if outside > 0.05:
            return rank
        rank += 1
    return rank


def is_stable(seconds: Sequence[float], limit_cv: float) -> bool:
    """Whether the last ten steps vary by less than `limit_cv` (standard deviation over mean)."""
    if len(seconds) < STABLE_WINDOW:
        return False
    window = np.asarray(seconds[-STABLE_WINDOW:])
    return bool(window.std(ddof=1) / window.mean() < limit_cv)
