"""What every estimator has to do; a test class for each inherits it."""

from __future__ import annotations

import pytest

from estimators.learned import Status, TrainingTable
from profiler.errors import SizeupError
from tests.estimators.learned import world


class EstimatorContract:
    """Give `make`, `target` and `truth` in a subclass."""

    target: str

    @classmethod
    def make(cls):
        """Return an estimator that was not fitted."""
        raise NotImplementedError

    @classmethod
    def truth(cls, trial):
        """Return what the figure of a trial is in truth."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def table(cls):
        return world.table_of(world.trials(), cls.target)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, table):
        return cls.make().fit(table)

    def test_it_says_what_it_predicts(self, fitted):
        assert fitted.target == self.target

    def test_figures_are_in_the_unit_of_their_name(self, fitted):
        trial = world.spec("middle", "lora", batch_size=3)
        (prediction,) = fitted.predict([world.row(trial)])
        assert prediction.figure == pytest.approx(self.truth(trial), rel=0.15)

    def test_an_answer_has_interval_basis_and_neighbours(self, fitted, table):
        (prediction,) = fitted.predict([world.row(world.spec("middle", "lora", batch_size=3))])
        assert prediction.low < prediction.figure < prediction.high
        assert prediction.level == 0.9
        assert prediction.basis.configurations == table.size
        assert prediction.basis.measurements == table.repeats.sum()
        assert prediction.basis.calibrated_by is not None
        assert list(prediction.outcomes) == sorted(prediction.outcomes)
        assert prediction.nearest[0].distance <= prediction.nearest[-1].distance
        assert prediction.status is Status.OK

    def test_answers_come_in_the_order_of_the_questions(self, fitted):
        asked = [world.row(trial) for trial in world.trials(batch_sizes=[3])]
        alone = [fitted.predict([row])[0] for row in asked]
        for one, other in zip(fitted.predict(asked), alone, strict=True):
            assert (one.figure, one.low) == pytest.approx((other.figure, other.low))
            assert one.nearest == other.nearest
        assert fitted.predict([]) == []

    def test_more_work_takes_no_less(self, fitted):
        for model in ("small", "large"):
            of_model = [world.row(world.spec(model, "lora", batch_size=size)) for size in (1, 2, 3, 4)]
            figures = [prediction.figure for prediction in fitted.predict(of_model)]
            assert figures == sorted(figures)

    def test_the_chance_to_stay_below_a_limit_grows_with_it(self, fitted):
        (prediction,) = fitted.predict([world.row(world.spec(batch_size=3))])
        limits = [prediction.figure * factor for factor in (0.01, 0.9, 1.0, 1.1, 100)]
        chances = [prediction.probability_below(limit) for limit in limits]
        assert chances == sorted(chances)
        assert 0 < chances[0] < 0.1
        assert 0.9 < chances[-1] < 1

    def test_the_same_rows_teach_the_same(self, fitted, table):
        asked = [world.row(world.spec("large", "vera", batch_size=3))]
        assert self.make().fit(table).predict(asked) == fitted.predict(asked)

    def test_it_comes_back_from_a_file_as_it_was(self, fitted, tmp_path):
        asked = [world.row(trial) for trial in world.trials(models=["middle", "deep"], batch_sizes=[3])]
        fitted.save(tmp_path / "saved.model")
        read = type(fitted).load(tmp_path / "saved.model")
        assert read.target == fitted.target
        assert read.predict(asked) == fitted.predict(asked)

    def test_outside_the_data_it_warns_or_refuses(self, fitted):
        for trial in (
            world.spec("unheard-of", "lora"),
            world.spec("small", "loha"),
            world.spec("small", "lora", sequence_length=50_000),
        ):
            (prediction,) = fitted.predict([world.row(trial)])
            assert prediction.status is not Status.OK
            assert prediction.reasons

    def test_what_it_refuses_has_no_figure_but_neighbours(self, fitted):
        (prediction,) = fitted.predict([world.row(world.spec("unheard-of", "loha", batch_size=999))])
        assert prediction.status is Status.REFUSE
        assert (prediction.figure, prediction.low, prediction.high) == (None, None, None)
        assert prediction.probability_below(1e18) is None
        assert prediction.nearest

    def test_nothing_is_learned_from_nothing(self, table):
        empty: TrainingTable = world.table_of([], self.target)
        with pytest.raises(SizeupError, match=f"no measurement has {self.target}"):
            self.make().fit(empty)
        with pytest.raises(SizeupError, match="nothing was learned"):
            self.make().predict([world.row(world.spec())])
