"""Intervals hold as often as they say, and are not claimed where rows are too few."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.learned.conformal import Calibration, fewest_rows, widening


@pytest.mark.parametrize(("level", "rows"), [(0.8, 4), (0.9, 9), (0.95, 19)])
def test_the_row_minimum(level, rows):
    assert fewest_rows(level) == rows
    for count in (rows - 1, rows):
        calibration = Calibration(fold=np.zeros(count, dtype=int), scores=np.linspace(-1, 1, count))
        found = calibration.interval(np.array([0.0]), 1.0, level=level)
        assert (found is None) == (count < rows)


def test_the_ends_are_the_order_statistics_of_the_paper():
    calibration = Calibration(fold=np.array([0, 0, 0, 1, 1, 1, 1, 1, 1]), scores=np.arange(1.0, 10.0))
    # Of nine, the 90 % interval takes the first of prediction - R and the ninth of prediction + R.
    low, high = calibration.interval(np.array([10.0, 20.0]), 2.0, level=0.9)
    assert low == min(10 - 2 * 3, 20 - 2 * 9)
    assert high == max(10 + 2 * 3, 20 + 2 * 9)


def left_out_means(sample, folds):
    """Predict the mean, as the simplest model there is."""
    fold = np.arange(len(sample)) % folds
    means = np.array([sample[fold != number].mean() for number in range(folds)])
    return fold, means


@pytest.mark.parametrize(("rows", "folds"), [(20, 20), (200, 10)])
def test_coverage_over_many_worlds(rows, folds):
    inside = []
    for seed in range(200):
        chance = np.random.default_rng(seed)
        sample, fresh = chance.normal(5, 2, rows), chance.normal(5, 2, 50)
        fold, means = left_out_means(sample, folds)
        calibration = Calibration(fold=fold, scores=sample - means[fold])
        low, high = calibration.interval(means, 1.0, level=0.9)
        inside.append(((low <= fresh) & (fresh <= high)).mean())
    assert 0.88 <= np.mean(inside) <= 0.93


def test_outcomes_are_as_likely_as_they_say():
    below = []
    for seed in range(200):
        chance = np.random.default_rng(seed)
        sample = chance.normal(0, 1, 100)
        fold, means = left_out_means(sample, 10)
        outcomes = Calibration(fold=fold, scores=sample - means[fold]).outcomes(means, 1.0)
        below.append((outcomes <= 0.8416).mean())  # the normal's 80 % quantile
    assert np.mean(below) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("groups", "factor"), [(4, 1.5995), (9, 1.1916), (100, 1.0145)])
def test_fewer_groups_widen_more(groups, factor):
    # t(0.95; 3) = 2.3534 and z(0.95) = 1.6449: 2.3534 / 1.6449 * sqrt(5 / 4)
    assert widening(groups, 0.9) == pytest.approx(factor, abs=1e-3)


@given(st.lists(st.floats(-10, 10), min_size=9, max_size=30), st.floats(0.1, 10))
def test_a_harder_question_has_a_wider_interval(scores, difficulty):
    calibration = Calibration(fold=np.zeros(len(scores), dtype=int), scores=np.array(scores))
    low, high = calibration.interval(np.array([0.0]), difficulty, level=0.9)
    wider_low, wider_high = calibration.interval(np.array([0.0]), 2 * difficulty, level=0.9)
    assert wider_low <= low <= high <= wider_high
    assert math.isfinite(low)
