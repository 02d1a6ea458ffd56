"""Predicting with what was learned, and without."""

import pytest

from estimators.features import Place
from estimators.learned import Status, configurations
from planner.learn import learn, predict
from planner.learn.saved import read_models, save_models
from profiler.catalog import find_gpu
from profiler.errors import SizeupError
from profiler.measurement import Outcome, Phase, Reason
from tests.estimators.learned import world
from tests.factories import environment, measurement
from tests.planner.learn.conftest import InventedSource

FEW = world.trials(models=("small", "middle"), methods=("full", "lora", "ia3"))
HERE = Place.of("cpu", {**world.FACTS, "host_memory_gib": 16})
GPU = Place.on(find_gpu("l40s"), world.FACTS)


@pytest.fixture(scope="module")
def learned():
    """Learned where a batch of 32 ran out of memory."""
    rows = [one for trial in FEW for one in world.measured(trial)]
    failed = measurement(
        spec=world.spec(batch_size=32), device="cpu", environment=environment(**world.FACTS),
        outcome=Outcome.OOM, reason=Reason.HOST_OOM, phase=Phase.FORWARD, figures={},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.learn.learning.FeatureSource", InventedSource)
        return learn(configurations([*rows, failed]))


@pytest.fixture
def models(learned, tmp_path):
    save_models(learned, tmp_path / "models")
    return read_models(tmp_path / "models")


def test_what_was_measured_nearly_is_told_with_an_interval(models):
    trial = world.spec("middle", batch_size=3)
    (answer,) = predict([(trial, HERE)], models)
    assert answer.status is Status.OK
    assert answer.reasons == ()
    for name, truth in (
        ("step_seconds_median", world.true_seconds),
        ("peak_process_bytes", world.true_bytes),
    ):
        figure = answer.figures[name]
        assert figure.low < truth(trial) < figure.high
    assert answer.probability_fits > 0.9


def test_a_gpu_gets_memory_from_the_symbolic_engine_and_no_time(models):
    (answer,) = predict([(world.spec(), GPU)], models)
    assert answer.status is Status.REFUSE
    assert answer.figures["step_seconds_median"].figure is None
    assert (
        answer.figures["peak_allocated_bytes"].figure == world.totals(world.spec()).predicted_allocated_bytes
    )
    assert answer.reasons.count("only cpu was measured, not cuda") == 1  # for time and for memory
    assert not any("nothing learned applies: only cpu" in reason for reason in answer.reasons)


def test_without_anything_learned_there_is_memory_only():
    (answer,) = predict([(world.spec(), GPU)], None)
    assert set(answer.figures) == {"peak_allocated_bytes"}
    assert answer.status is Status.OK


def test_what_ran_out_of_memory_is_not_called_fitting(models):
    smaller, larger = predict([(world.spec(batch_size=batch), HERE) for batch in (2, 64)], models)
    assert not smaller.ran_out_of_memory
    assert larger.ran_out_of_memory
    assert larger.probability_fits < smaller.probability_fits
    assert any("ran out of memory when it was measured" in reason for reason in larger.reasons)


def test_what_cannot_be_traced_says_why(models):
    (answer,) = predict([(world.spec(sequence_length=8192), HERE)], models)
    assert (answer.status, answer.reasons) == (Status.REFUSE, ("there are 4096 positions",))
    assert answer.figures == {}


def test_models_of_another_installation_are_refused(models, tmp_path, monkeypatch):
    assert models.device == "cpu"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    with pytest.raises(SizeupError):
        read_models(tmp_path / "models")
    assert read_models(tmp_path / "nothing") is None
