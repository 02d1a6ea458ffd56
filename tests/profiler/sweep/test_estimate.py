import pytest

from profiler.measurement import Outcome
from profiler.sweep.estimate import estimate_time
from profiler.sweep.plan import PlannedTrial
from tests.factories import measurement, trial_spec

A, B = trial_spec(sequence_length=128), trial_spec(sequence_length=256)
OTHER = trial_spec(model="openai-community/gpt2")


def row(spec, seconds, **fields):
    return measurement(spec=spec, figures={"trial_seconds": seconds}, **fields)


def trials(*specs):
    return [PlannedTrial(spec=spec, repeat=1) for spec in specs]


def test_a_trial_takes_the_median_of_its_own_earlier_ones():
    earlier = [row(A, 10.0), row(A, 12.0), row(A, 100.0), row(B, 1000.0)]
    found = estimate_time(trials(A, A), earlier)
    assert (found.seconds, found.same_spec, found.same_model, found.unknown) == (24.0, 2, 0, 0)


def test_else_that_of_its_model():
    found = estimate_time(trials(A, B), [row(A, 10.0)])
    assert (found.seconds, found.same_spec, found.same_model, found.unknown) == (20.0, 1, 1, 0)


def test_another_model_is_unknown_and_not_counted():
    found = estimate_time(trials(A, OTHER, OTHER), [row(A, 10.0)])
    assert (found.seconds, found.same_spec, found.same_model, found.unknown) == (10.0, 1, 0, 2)


@pytest.mark.parametrize(
    "earlier",
    [
        [],
        [row(A, 3.0, outcome=Outcome.FAILED)],
        [row(A, 3.0, outcome=Outcome.OOM)],
        [measurement(spec=A)],
    ],
)
def test_without_a_time_there_is_none(earlier):
    found = estimate_time(trials(A), earlier)
    assert found.seconds is None
    assert found.unknown == 1


def test_nothing_to_run():
    assert estimate_time([], [row(A, 1.0)]).seconds is None
