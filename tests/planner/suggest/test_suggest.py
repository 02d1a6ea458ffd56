from collections import Counter

import pytest

from estimators.memory import Verdict
from estimators.suggest import TrialCost
from planner.suggest import Goal, Limit, Objective, suggest
from profiler.errors import UsageError
from tests.factories import trial_spec
from tests.planner.suggest.conftest import GIB, measured, noisy, space, step_seconds, totals

MAP, BEST = Goal(objective=Objective.MAP), Goal(objective=Objective.BEST)


class NoTracer:
    """What may not be asked for a trace."""

    def trace(self, spec, target, **_options):
        raise AssertionError(f"{spec} was traced")


def ask(specs, place, found, goal, **options):
    return suggest(specs, place, found, goal, tracer=NoTracer(), **options)


def test_without_measurements_the_middle_comes_first_and_then_what_is_far(place):
    specs = space(batch_sizes=(1,), lengths=(64, 128, 256, 512, 1024))
    found = ask(specs, place, [], MAP)
    assert len(found.ordered) == 5
    assert found.ordered[0].spec.sequence_length == 256
    assert "middle" in found.ordered[0].why
    assert found.ordered[1].spec.sequence_length in (64, 1024)
    assert {one.cost_seconds for one in found.ordered} == {None}
    assert (found.stop_because, found.best) == (None, None)


def test_what_is_measured_or_surely_cannot_run_is_left_out(place):
    out_of_memory = measured(
        trial_spec(batch_size=4, sequence_length=64), figures={}, outcomes=Counter(oom=1)
    )
    failed = measured(trial_spec(batch_size=1, sequence_length=32), figures={}, outcomes=Counter(failed=2))
    done = measured(trial_spec(batch_size=1, sequence_length=64))
    wide = trial_spec(batch_size=8, sequence_length=64)
    long = trial_spec(batch_size=1, sequence_length=5000)
    specs = [out_of_memory.spec, failed.spec, done.spec, wide, long, trial_spec(batch_size=2)]
    found = ask(specs, place, [out_of_memory, failed, done], MAP)
    assert [one.spec for one in found.ordered] == [trial_spec(batch_size=2)]
    assert {one.spec: one.reason for one in found.skipped} == {
        out_of_memory.spec: "it ran out of memory",
        failed.spec: "it ended as failed",
        done.spec: "measured already",
        wide: "it ran out of memory with batch size 4",
        long: "there are 4096 positions",
    }


def test_what_the_symbolic_engine_is_sure_of_is_left_out(place, monkeypatch):
    large = trial_spec(batch_size=16, sequence_length=1024)
    assert totals(large).predicted_reserved_bytes > 48 * GIB
    traced = []

    class Refusing:
        def trace(self, spec, target):
            traced.append(spec)
            return "a ledger"

    monkeypatch.setattr("planner.suggest.candidates.fits", lambda *_: Verdict.DOES_NOT_FIT)
    found = suggest([large, trial_spec()], place, [], MAP, tracer=Refusing())
    assert traced == [large]
    assert [one.reason for one in found.skipped] == ["the symbolic engine says that it does not fit"]
    monkeypatch.setattr("planner.suggest.candidates.fits", lambda *_: Verdict.CANNOT_TELL)
    assert len(suggest([large, trial_spec()], place, [], MAP, tracer=Refusing()).ordered) == 2


def test_nothing_left_is_a_reason_to_stop(place):
    (spec,) = space((1,), (64,))
    found = ask([spec, spec], place, [measured(spec)], BEST)
    assert found.ordered == ()
    assert found.stop_because == "every trial is measured or cannot run"
    assert found.best is not None
    assert found.best_value == pytest.approx(step_seconds(spec))


def test_the_best_is_the_least_time_of_a_sample(place):
    specs = space()
    found = ask(specs, place, noisy(specs[::2]), BEST, count=3)
    assert found.best is not None
    # 20 ms are shared by eight samples.
    assert (found.best.spec.batch_size, found.best.spec.sequence_length) == (8, 64)
    assert found.best_value == pytest.approx(step_seconds(found.best.spec) / 8, rel=0.02)


def test_what_promises_to_be_better_comes_first(place):
    specs = space()
    known = noisy([spec for spec in specs if spec.batch_size < 8])
    found = ask(specs, place, known, BEST)
    first = found.ordered[0]
    assert (first.spec.batch_size, first.spec.sequence_length) == (8, 64)
    assert first.figure == pytest.approx(step_seconds(first.spec), rel=0.05)
    assert first.worth == max(one.worth for one in found.ordered)
    assert "better than the best so far" in first.why
    assert found.stop_because is None


def test_it_says_to_stop_when_the_rest_promises_less_than_the_noise(place):
    specs = space()
    known = noisy([spec for spec in specs if spec.sequence_length < 512])
    found = ask(specs, place, known, BEST)
    assert found.stop_because is not None
    assert "repeats differ by 1.00%" in found.stop_because
    assert found.ordered


def test_limits_decide_what_the_best_is_and_what_is_suggested(place):
    specs = space()
    limit = Limit(figure="peak_reserved_bytes", most=5 * GIB)
    goal = Goal(objective=Objective.BEST, limits=(limit,))
    known = noisy([spec for spec in specs if spec.batch_size in (1, 4)])
    found = ask(specs, place, known, goal)
    assert found.best is not None
    assert found.best.figures["peak_reserved_bytes"][0] <= limit.most
    first = found.ordered[0]
    assert totals(first.spec).predicted_reserved_bytes * 1.01 <= limit.most
    assert first.probability_within_limits > 0.5
    beyond = [one for one in found.ordered if totals(one.spec).predicted_reserved_bytes > 1.2 * limit.most]
    assert all(one.probability_within_limits < 0.2 for one in beyond)


def test_before_anything_keeps_to_the_limits_it_never_says_to_stop(place):
    specs = space()
    goal = Goal(objective=Objective.BEST, limits=(Limit(figure="peak_reserved_bytes", most=GIB),))
    found = ask(specs, place, noisy(specs[:12]), goal)
    assert (found.best, found.stop_because) == (None, None)


def test_time_is_what_worth_is_divided_by(place):
    """Of two trials that remove the same, the one that takes less time comes first."""
    specs = space()
    known = noisy(specs[::3])
    cheap = ask(specs, place, known, MAP, cost=TrialCost(overhead_seconds=0, steps=1000))
    flat = ask(specs, place, known, MAP, cost=TrialCost(overhead_seconds=10**9, steps=1))
    assert cheap.ordered[0].cost_seconds < 1000 * 0.1
    assert flat.ordered[0].worth == max(one.worth for one in flat.ordered)
    rates = [one.worth / one.cost_seconds for one in (cheap.ordered[0], flat.ordered[0])]
    assert rates[0] > rates[1]


def test_a_map_stops_when_predictions_are_as_good_as_repeats(place):
    specs = space()
    known = noisy(specs[:-1], noise=0.0)
    assert ask(specs, place, known, MAP).stop_because is not None
    spread = [*noisy(specs[:8], noise=0.2), *noisy(specs[8:-1], noise=0.2, seed=1)]
    assert ask(specs, place, spread, MAP).stop_because is None


def test_the_suggestions_of_a_map_are_apart(place):
    specs = space(batch_sizes=(1, 2, 4, 8, 16), lengths=(64, 65, 66, 512, 513, 514))
    found = ask(specs, place, noisy(specs[::4], noise=0.1), MAP, count=2)
    first, second = (one.spec.sequence_length for one in found.ordered)
    assert abs(first - second) > 2 or found.ordered[0].spec.batch_size != found.ordered[1].spec.batch_size
    assert len({one.spec.key for one in found.ordered}) == 2


def test_measured_trials_that_have_no_features_are_told(place):
    known = [*noisy(space((1,))), measured(trial_spec(batch_size=1, sequence_length=5000))]
    found = ask(space(), place, known, MAP)
    assert found.notes == ("1 measured configurations are not learned from: there are 4096 positions",)


def test_of_very_many_trials_a_part_is_looked_at_and_that_is_said(place, monkeypatch):
    monkeypatch.setattr("planner.suggest.suggesting.MOST_CANDIDATES", 5)
    found = ask(space(), place, [], MAP, count=10)
    assert len(found.ordered) == 5
    assert found.notes == ("5 of 16 trials are looked at, drawn by chance",)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_measurements_are_enough_for_an_answer(place, count):
    specs = space()
    for goal in (MAP, BEST):
        assert ask(specs, place, noisy(specs[:count]), goal).ordered


def test_goals_of_unknown_figures_are_refused():
    with pytest.raises(UsageError, match="unknown figure to learn 'speed'"):
        Goal(objective=Objective.BEST, figure="speed")
    with pytest.raises(UsageError, match="above 0"):
        Limit(figure="peak_reserved_bytes", most=0)
