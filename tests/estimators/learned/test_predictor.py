"""The learned predictors keep the contract, and do what their own claims are."""

import numpy as np
import pytest

from estimators.features import Place
from estimators.learned import LearnedPredictor, Question, Status
from estimators.learned.bases import LeastSquares
from estimators.learned.corrections import Constant, Ridge, Trees
from estimators.learned.folds import Model
from estimators.learned.targets import TARGETS
from profiler.catalog import find_gpu
from profiler.errors import UsageError
from tests.estimators.learned import world
from tests.estimators.learned.contract import EstimatorContract

SECONDS = LeastSquares(terms=TARGETS["step_seconds_median"].terms[1])


class TestTime(EstimatorContract):
    target = "step_seconds_median"

    @classmethod
    def make(cls):
        return LearnedPredictor(cls.target)

    @classmethod
    def truth(cls, trial):
        return world.true_seconds(trial)


class TestMemory(EstimatorContract):
    target = "peak_process_bytes"

    @classmethod
    def make(cls):
        return LearnedPredictor(cls.target)

    @classmethod
    def truth(cls, trial):
        return world.true_bytes(trial)


class TestGroups(TestTime):
    @classmethod
    def make(cls):
        return LearnedPredictor(
            cls.target, models=[Model(base=SECONDS, correction=Ridge(penalty=1.0, with_numbers=False))]
        )


class TestSettings(TestTime):
    @classmethod
    def make(cls):
        return LearnedPredictor(
            cls.target, models=[Model(base=SECONDS, correction=Ridge(penalty=1.0, with_numbers=True))]
        )


class TestTrees(TestTime):
    @pytest.fixture(scope="class")
    @classmethod
    def table(cls):
        return world.table_of(world.trials(), cls.target)

    @classmethod
    def make(cls):
        return LearnedPredictor(cls.target, models=[Model(base=SECONDS, correction=Trees())])


class TestConstant(TestTime):
    @classmethod
    def make(cls):
        return LearnedPredictor(cls.target, models=[Model(base=SECONDS, correction=Constant())])


def test_an_unknown_figure_is_refused():
    with pytest.raises(UsageError, match="unknown figure to learn 'step_seconds'"):
        LearnedPredictor("step_seconds")


@pytest.mark.parametrize(
    ("trial", "question"),
    [
        (world.spec("small", "lora", batch_size=3), Question.CONFIGURATION),
        (world.spec("small", "loha"), Question.METHOD),
        (world.spec("unheard-of", "lora"), Question.MODEL),
    ],
)
def test_the_interval_is_that_of_the_question(trial, question):
    predictor = LearnedPredictor("step_seconds_median").fit(
        world.table_of(world.trials(models=world.LAYERS, batch_sizes=[1, 3]))
    )
    (prediction,) = predictor.predict([world.row(trial)])
    assert prediction.basis.question is question
    assert f"{question.value}s" in prediction.basis.calibrated_by


def test_an_interval_is_wider_for_a_new_method_than_for_new_settings():
    predictor = LearnedPredictor("step_seconds_median").fit(world.table_of(world.trials()))
    known, new = predictor.predict(
        [world.row(world.spec(method="lora")), world.row(world.spec(method="loha"))]
    )
    assert new.high / new.low > known.high / known.low


def test_below_the_row_minimum_no_interval_is_claimed():
    eight = world.trials(models=["small"], methods=["full", "lora"], batch_sizes=(1, 2, 3, 4))
    asked = [world.row(world.spec(batch_size=2))]
    (prediction,) = (
        LearnedPredictor("peak_process_bytes").fit(world.table_of(eight, "peak_process_bytes")).predict(asked)
    )
    assert prediction.low is None
    assert prediction.basis.no_interval_because == "8 configurations measured, 9 are needed for an interval"
    nine = [*eight, world.spec("small", "full", batch_size=5)]
    (prediction,) = (
        LearnedPredictor("peak_process_bytes").fit(world.table_of(nine, "peak_process_bytes")).predict(asked)
    )
    assert prediction.low is not None


def test_of_few_models_nothing_is_claimed_about_another_one():
    predictor = LearnedPredictor("step_seconds_median").fit(
        world.table_of(world.trials(models=["small", "large"]))
    )
    (prediction,) = predictor.predict([world.row(world.spec("unheard-of"))])
    assert prediction.status is Status.CAUTION
    assert prediction.figure is not None
    assert prediction.low is None
    assert prediction.basis.no_interval_because == "2 models measured, 4 are needed for an interval"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_rows_and_equal_rows_are_no_trouble(count):
    table = world.table_of([world.spec(batch_size=size) for size in range(1, count + 1)])
    (prediction,) = LearnedPredictor("step_seconds_median").fit(table).predict([world.row(world.spec())])
    assert prediction.figure == pytest.approx(world.true_seconds(world.spec()), rel=0.2)
    same = world.table_of([world.spec(max_grad_norm=float(norm)) for norm in range(count)])
    (prediction,) = LearnedPredictor("step_seconds_median").fit(same).predict([world.row(world.spec())])
    assert np.isfinite(prediction.figure)


def test_rows_of_another_kind_of_device_are_refused():
    predictor = LearnedPredictor("step_seconds_median").fit(world.table_of(world.trials()))
    gpu = Place.on(find_gpu("l40s"), world.FACTS)
    (prediction,) = predictor.predict([world.row(world.spec(), gpu)])
    assert prediction.status is Status.REFUSE
    assert prediction.reasons == ("only cpu was measured, not cuda",)
