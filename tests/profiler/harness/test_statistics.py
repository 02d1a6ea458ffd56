"""Statistics of timed steps, against exact distributions."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from profiler.harness.statistics import STABLE_WINDOW, is_stable, median_interval_rank, summarize_steps
from profiler.measurement import FIGURES


@pytest.mark.parametrize("count", range(1, 201))
def test_the_interval_is_the_narrowest_that_covers_the_median_with_95_percent(count):
    rank = median_interval_rank(count)

    def coverage(r):
        return 1 - 2 * binom.cdf(r - 1, count, 0.5)

    if rank:
        assert rank <= (count + 1) // 2
        assert coverage(rank) >= 0.95
    assert coverage(rank + 1) < 0.95


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_figures_of_any_steps(seconds):
    figures = summarize_steps(seconds)
    assert set(figures) <= set(FIGURES)
    assert figures["steps_timed"] == len(seconds)
    assert figures["step_seconds_median"] == pytest.approx(statistics.median(seconds))
    assert figures["step_seconds_p05"] <= figures["step_seconds_median"] <= figures["step_seconds_p95"]
    has_interval = "step_seconds_ci95_low" in figures
    assert has_interval == ("step_seconds_ci95_high" in figures) == (len(seconds) >= 6)
    if has_interval:
        low, high = figures["step_seconds_ci95_low"], figures["step_seconds_ci95_high"]
        assert low <= figures["step_seconds_median"] <= high
        assert low in seconds
        assert high in seconds


def test_six_steps_are_covered_by_their_extremes():
    figures = summarize_steps([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    assert (figures["step_seconds_ci95_low"], figures["step_seconds_ci95_high"]) == (1.0, 6.0)


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        figures = summarize_steps(draw.lognormal(size=30))
        covered += figures["step_seconds_ci95_low"] <= 1.0 <= figures["step_seconds_ci95_high"]
    assert 0.95 <= covered / 2000 < 0.975  # exactly 0.957 for 30 steps


def test_too_few_steps_are_not_stable():
    assert not is_stable([1.0] * (STABLE_WINDOW - 1), 0.02)
    assert is_stable([1.0] * STABLE_WINDOW, 0.02)


def test_only_the_last_steps_decide():
    settled = [1.0, 1.01] * (STABLE_WINDOW // 2)
    assert is_stable([50.0, *settled], 0.02)
    assert not is_stable([*settled[1:], 50.0], 0.02)


def test_the_limit_is_the_coefficient_of_variation():
    values = [1.0] * 5 + [1.1] * 5
    spread = statistics.stdev(values) / statistics.mean(values)
    assert is_stable(values, spread * 1.001)
    assert not is_stable(values, spread * 0.999)
