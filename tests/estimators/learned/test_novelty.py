"""Outside the data is noticed, inside is left alone."""

import dataclasses

import pytest

from estimators.features import Place
from estimators.learned import LearnedPredictor, Status
from estimators.learned.novelty import FAR
from estimators.learned.table import FeatureFrame
from estimators.learned.validation import validate
from profiler.catalog import find_gpu
from tests.estimators.learned import world

L40S, H100 = (Place.on(find_gpu(name), {"torch_version": "2.14.1"}) for name in ("l40s", "h100-sxm"))


@pytest.fixture(scope="module")
def fitted():
    return LearnedPredictor("step_seconds_median").fit(
        world.table_of(world.trials(batch_sizes=(1, 2, 3, 4, 6, 8)))
    )


def judged(predictor, trial, place=world.HERE):
    (prediction,) = predictor.predict([world.row(trial, place)])
    return prediction.status, prediction.reasons


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (world.spec(method="loha"), "method loha was not measured"),
        (world.spec("unheard-of"), "model unheard-of was not measured"),
        (world.spec(precision="fp32"), "precision fp32 was not measured"),
        (world.spec(sequence_length=51_200), "sequence length 51,200 is outside the measured 512"),
        (world.spec(batch_size=9), "batch size 9 is outside the measured 1 to 8"),
    ],
)
def test_one_thing_outside_is_a_caution(fitted, trial, reason):
    assert judged(fitted, trial) == (Status.CAUTION, (reason,))


def test_two_things_outside_are_refused(fitted):
    status, reasons = judged(fitted, world.spec(method="loha", batch_size=100))
    assert status is Status.REFUSE
    assert len(reasons) == 2


def test_a_gpu_is_outside_of_another(data_folder):
    rows = [world.row(trial, L40S) for trial in world.trials()]
    measured = world.table_of(world.trials())
    table = dataclasses.replace(measured, frame=FeatureFrame.of(rows))
    predictor = LearnedPredictor("step_seconds_median").fit(table)
    assert judged(predictor, world.spec(), L40S) == (Status.OK, ())
    status, reasons = judged(predictor, world.spec(), H100)
    assert status is Status.CAUTION
    assert reasons == ("device h100-sxm-80gb was not measured",)


def test_inside_it_is_seldom_called_outside():
    trials = world.trials(models=("small", "middle"), batch_sizes=(1, 2, 3, 4, 6))
    validation = validate(world.table_of(trials), "step_seconds_median")
    assert validation.alarms_of > 40
    assert validation.alarms / validation.alarms_of < 0.05


def test_a_gap_between_measured_settings_is_far(fitted):
    sizes = [*range(1, 16), *range(990, 1001)]
    predictor = LearnedPredictor("step_seconds_median").fit(
        world.table_of([world.spec(batch_size=size) for size in sizes])
    )
    assert judged(predictor, world.spec(batch_size=120)) == (Status.CAUTION, (FAR,))
    assert judged(predictor, world.spec(batch_size=995))[0] is Status.OK
