from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.learned import Configuration, Prediction, Question, Status
from estimators.learned.prediction import Basis
from estimators.suggest import (
    Belief,
    TrialCost,
    correlations,
    repeat_noise,
    variance_after,
    variance_removed,
)
from tests.factories import environment, trial_spec

BELIEF = Belief(log_centre=0.0, log_scale=0.1, degrees_of_freedom=10_000)


def prediction(figure, *outcomes):
    basis = Basis(configurations=3, measurements=3, model="m", question=Question.MODEL, calibrated_by=None)
    return Prediction(
        figure=figure, low=None, high=None, level=0.5, outcomes=outcomes, basis=basis, status=Status.OK,
        reasons=(), nearest=(),
    )  # fmt: skip


def configuration(*figures):
    return Configuration(
        spec=trial_spec(), device="cpu", environment=environment(), origin="measured",
        first_measured_at=datetime(2026, 1, 1, tzinfo=UTC), figures={"step_seconds_median": figures},
        outcomes=Counter(ok=len(figures)),
    )  # fmt: skip


def test_a_belief_is_as_wide_as_the_predictor_was_wrong():
    belief = Belief.of(prediction(2.0, 2 * math.exp(-0.3), 2 * math.exp(0.3)))
    assert belief is not None
    assert belief.log_centre == pytest.approx(math.log(2))
    assert belief.log_scale == pytest.approx(0.3 * math.sqrt(1 + 1 / 2))
    assert belief.degrees_of_freedom == 1


def test_a_predictor_that_was_never_wrong_still_has_the_noise():
    belief = Belief.of(prediction(2.0, 2.0, 2.0, 2.0))
    assert belief is not None
    assert belief.log_scale == 0.01


@pytest.mark.parametrize("known", [prediction(2.0), prediction(2.0, 2.1), prediction(None, 1.0, 2.0)])
def test_too_little_gives_no_belief(known):
    assert Belief.of(known) is None


def test_the_improvement_of_a_normal_belief_is_the_closed_form():
    # Of a log-normal X below b: Phi(z) - E[X]/b Phi(z - s), z = (ln b - mu) / s.
    s, best = BELIEF.log_scale, 0.95
    z = math.log(best) / s

    def below(x):
        return 0.5 * math.erfc(-x / math.sqrt(2))

    expected = below(z) - math.exp(s**2 / 2) / best * below(z - s)
    assert BELIEF.expected_improvement(best) == pytest.approx(expected, rel=0.02)


@given(st.floats(0.5, 2.0), st.floats(1.001, 2.0))
def test_the_improvement_grows_with_the_best(best, factor):
    assert 0 <= BELIEF.expected_improvement(best) <= BELIEF.expected_improvement(best * factor) <= 1


@given(st.floats(0.01, 100), st.floats(0.5, 2.0))
def test_the_improvement_is_the_same_in_any_unit(factor, best):
    found = BELIEF.times(factor).expected_improvement(best * factor)
    assert found == pytest.approx(BELIEF.expected_improvement(best), abs=1e-12)


def test_a_wider_belief_promises_more():
    wide = Belief(log_centre=0.0, log_scale=0.3, degrees_of_freedom=10_000)
    assert wide.expected_improvement(0.9) > BELIEF.expected_improvement(0.9)


@st.composite
def spaces(draw):
    count = draw(st.integers(1, 6))
    points = np.array(draw(st.lists(st.floats(-3, 3), min_size=count, max_size=count)))
    variances = np.array(draw(st.lists(st.floats(1e-4, 1.0), min_size=count, max_size=count)))
    return np.abs(points[:, None] - points[None, :]), variances


@given(spaces(), st.floats(0.01, 0.5))
def test_what_is_removed_is_what_is_gone_afterwards(space, noise):
    distances, variances = space
    correlation = correlations(distances, 1.0)
    removed = variance_removed(variances, correlation, noise)
    for number, gone in enumerate(removed):
        after = variance_after(variances, correlation, number, noise)
        assert variances.sum() - after.sum() == pytest.approx(gone)
        assert (after >= 0).all()
        assert (after <= variances).all()
        left = variances[number] * noise**2 / (variances[number] + noise**2)
        assert after[number] == pytest.approx(left)


def test_configurations_at_one_place_are_known_together():
    correlation = correlations(np.zeros((2, 2)), 0.0)
    assert (correlation == 1).all()
    assert (correlations(np.array([[0.0, 3.0], [3.0, 0.0]]), 0.0) == np.eye(2)).all()


def test_the_noise_is_that_of_repeats_and_at_least_the_floor():
    assert repeat_noise([configuration(1.0), configuration(2.0)], "step_seconds_median") == 0.01
    spread = [configuration(1.0, math.exp(0.2)), configuration(3.0, 3 * math.exp(-0.4))]
    expected = math.sqrt((2 * 0.1**2 + 2 * 0.2**2) / 2)
    assert repeat_noise(spread, "step_seconds_median") == pytest.approx(expected)
    assert repeat_noise(spread, "peak_allocated_bytes") == 0.01


def test_the_cost_of_trials_is_their_overhead_and_their_steps():
    cost = TrialCost.of([(20.0, 10.0, 1.0), (35.0, 10.0, 2.0), (100.0, 100.0, 0.5)])
    assert cost == TrialCost(overhead_seconds=15.0, steps=10.0)
    assert TrialCost.of([(5.0, 10.0, 1.0)]) == TrialCost(overhead_seconds=0.0, steps=10.0)
    assert TrialCost.of([]) is None
