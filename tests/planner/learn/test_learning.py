"""Learning from stores, good and bad."""

import pytest

from estimators.learned import configurations
from estimators.learned.validation import Split
from planner.learn import learn
from profiler.errors import SizeupError
from profiler.measurement import Outcome, Phase, Reason
from tests.estimators.learned import world
from tests.factories import environment, measurement

FEW = world.trials(models=("small", "middle"), methods=("full", "lora", "ia3"))


TRIALS = world.trials(batch_sizes=(1, 4))


def found(trials, **fields):
    return configurations(one for trial in trials for one in world.measured(trial, **fields))


def out_of_memory(trial, **figures):
    return measurement(
        spec=trial, device="cpu", environment=environment(**world.FACTS), outcome=Outcome.OOM,
        reason=Reason.CUDA_OOM, phase=Phase.FORWARD, figures=figures,
    )  # fmt: skip


def scores(learned, target, split):
    (figure,) = [one for one in learned.figures if one.predictor.target == target]
    return {score.predictor: score for score in figure.validation.scores if score.split is split}


def test_what_is_learned_is_better_than_physics_and_neighbours():
    learned = learn(found(FEW))
    assert learned.measurements == 3 * learned.configurations_found == 54
    for target in ("step_seconds_median", "peak_process_bytes"):
        scored = scores(learned, target, Split.CONFIGURATION)
        best = scored.pop("learned")
        assert best.error_median < min(score.error_median for score in scored.values())
        assert best.coverage_p_value > 0.05
    assert set(learned.not_learned) == {"peak_reserved_bytes"}


def test_one_row_has_no_interval_and_nothing_to_validate_on():
    learned = learn(found(FEW[:1], repeats=1), targets=["step_seconds_median"])
    (figure,) = learned.figures
    assert figure.validation.scores == ()
    assert set(figure.validation.absent) == set(Split)
    (predicted,) = figure.predictor.predict([world.row(world.spec(batch_size=1))])
    assert predicted.low is None
    assert "needed for an interval" in predicted.basis.no_interval_because


def test_identical_rows_are_one_configuration():
    trial = world.spec()
    learned = learn(configurations(world.measured(trial, repeats=1) * 5), targets=["peak_process_bytes"])
    assert learned.measurements == 5
    assert learned.configurations_found == 1


def test_rows_without_figures_are_left_out():
    bare = measurement(spec=world.spec(batch_size=7), device="cpu", environment=environment(**world.FACTS),
                       outcome=Outcome.OK, figures={})  # fmt: skip
    rows = [one for trial in FEW for one in world.measured(trial)]
    assert learn(configurations([*rows, bare]), targets=["step_seconds_median"]).figures
    with pytest.raises(SizeupError, match="none of the measurements has a figure to learn: 1 ok"):
        learn(configurations([bare]))


def test_nothing_is_learned_of_nothing_but_out_of_memory():
    rows = [out_of_memory(trial) for trial in FEW]
    with pytest.raises(SizeupError, match="none of the measurements has a figure to learn: 18 oom"):
        learn(configurations(rows))


def test_what_ran_out_of_memory_is_counted_and_bounds_the_prediction():
    rows = [one for trial in FEW for one in world.measured(trial)]
    large = world.spec(batch_size=64)
    needed = world.totals(large).predicted_allocated_bytes
    bounds = [
        out_of_memory(large, oom_allocated_bytes=round(needed * part), oom_requested_bytes=1)
        for part in (0.5, 0.9)
    ]
    learned = learn(configurations([*rows, *bounds]))
    assert (learned.oom_configurations, learned.oom_bounds, learned.oom_bounds_kept) == (1, 1, 1)


def test_what_no_trace_can_tell_is_named():
    rows = found([*FEW, world.spec(sequence_length=8192)])
    learned = learn(rows, targets=["step_seconds_median"])
    assert learned.without_features == {"there are 4096 positions": 1}
    with pytest.raises(SizeupError, match="nothing is known of 1 of 1 configurations before they run: there"):
        learn(found([world.spec(sequence_length=8192)]))
