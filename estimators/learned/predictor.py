"""`LearnedPredictor`: physics and its correction, chosen by validation, with intervals that hold.

For each question (a new configuration, method, model or device) the model is chosen, and its interval
calibrated, on rows that were left out in the same way: a model that does well on new settings of a known
method need not do well on a new method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from estimators.learned.conformal import FEWEST_GROUPS, Calibration, fewest_rows, widening
from estimators.learned.folds import (
    LeftOut,
    Model,
    assign_folds,
    candidate_models,
    choose,
    fit_simplest,
)
from estimators.learned.novelty import Novelty, nearest_other
from estimators.learned.prediction import Basis, Neighbour, Prediction, Question, Status
from estimators.learned.saved import read_model, write_model
from estimators.learned.state import stored
from estimators.learned.table import FeatureFrame, TrainingTable
from estimators.learned.targets import LearnedTarget, find_target
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from estimators.features import FeatureRow

LEVEL = 0.9
"""Of intervals, unless said otherwise."""
_NEIGHBOURS = 3


@stored
@dataclass(frozen=True, kw_only=True)
class _Answering:
    """The model for one question, and what its interval rests on."""

    model: Model
    by_fold: tuple[Model, ...]
    calibration: Calibration | None
    calibrated_by: str | None
    no_interval_because: str | None


@stored
@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """All that was learned from a table."""

    table: TrainingTable
    novelty: Novelty
    typical_distance: float
    answering: dict[str, _Answering]
    """By question."""


class LearnedPredictor:
    """Learns one figure of configurations; an `Estimator`.

    Args:
        target: Name of a figure of `estimators.learned.targets.TARGETS`.
        level: Probability of the intervals.
        models: Models to choose from, the simplest first; by default the candidates of the target. With a
            single one, it is a baseline.
    """

    def __init__(self, target: str, *, level: float = LEVEL, models: Sequence[Model] | None = None) -> None:
        self._target: LearnedTarget = find_target(target)
        self.level = level
        self._models = list(models) if models is not None else candidate_models(self._target)
        self._fitted: _Fitted | None = None

    @property
    def target(self) -> str:
        """Name of the figure, which says its unit."""
        return self._target.name

    @property
    def configurations(self) -> int:
        """How many configurations it was fitted to."""
        return self._known.table.size

    def model_name(self, question: Question = Question.CONFIGURATION) -> str:
        """Return what was chosen for a question."""
        return self._known.answering[question.value].model.name

    @property
    def _known(self) -> _Fitted:
        if self._fitted is None:
            raise NotPossibleError(f"nothing was learned of {self.target} yet")
        return self._fitted

    def fit(self, table: TrainingTable, *, questions: Collection[Question] = tuple(Question)) -> Self:
        """Return itself, fitted; the same table always gives the same.

        Args:
            table: Rows to learn from.
            questions: Those that will be asked; fewer take less time.

        Raises:
            NotPossibleError: If the table has no row, or physics cannot be fitted to it.
        """
        if not table.size:
            raise NotPossibleError(f"no measurement has {self.target}")
        novelty = Novelty.of(table)
        distances = novelty.distance.to(table.frame)
        typical = float(np.median(nearest_other(distances, np.arange(table.size))))
        answering: dict[str, _Answering] = {}
        of_settings: _Answering | None = None
        for question in (one for one in Question if one in questions):
            found = self._learn(table, question, distances, typical)
            if question is Question.CONFIGURATION:
                of_settings = found
            elif found.calibration is None:
                # Groups too few to choose by: the model for new settings has at least been chosen.
                of_settings = of_settings or self._learn(table, Question.CONFIGURATION, distances, typical)
                found = replace(of_settings, calibration=None, calibrated_by=None,
                                no_interval_because=found.no_interval_because)  # fmt: skip
            answering[question.value] = found
        self._fitted = _Fitted(table=table, novelty=novelty, typical_distance=typical, answering=answering)
        return self

    def _learn(
        self, table: TrainingTable, question: Question, distances: NDArray[np.float64], typical: float
    ) -> _Answering:
        groups = table.groups_of(question)
        count = len(set(groups))
        needed = fewest_rows(self.level) if question is Question.CONFIGURATION else FEWEST_GROUPS
        chosen: LeftOut | None = None
        if count > 1 and (count >= needed or question is Question.CONFIGURATION):
            chosen = choose(self._models, table, assign_folds(groups))
        if chosen is None:
            model = fit_simplest(self._models, table)
            return _Answering(model=model, by_fold=(), calibration=None, calibrated_by=None,
                              no_interval_because=_too_few(question, count, needed))  # fmt: skip
        factor = 1.0 if question is Question.CONFIGURATION else widening(count, self.level)
        difficulty = _difficulty(nearest_other(distances, chosen.fold), typical)
        is_enough = count >= needed and table.size >= fewest_rows(self.level)
        return _Answering(
            model=chosen.model.fit(table),
            by_fold=chosen.models,
            calibration=Calibration(fold=chosen.fold, scores=factor * chosen.residuals / difficulty)
            if is_enough
            else None,
            calibrated_by=_calibrated_by(question, count, factor) if is_enough else None,
            no_interval_because=None if is_enough else _too_few(question, count, needed),
        )

    def predict(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        """Return a prediction for each row.

        Raises:
            NotPossibleError: If nothing was learned yet.
        """
        return self.predict_frame(FeatureFrame.of(rows)) if rows else []

    def predict_frame(self, frame: FeatureFrame, *, refuses: bool = True) -> list[Prediction]:
        """Return a prediction for each row of a frame, as `predict`.

        Args:
            frame: The rows.
            refuses: Give no figure outside the data; a validation wants to know what it would have been.
        """
        known = self._known
        distances = known.novelty.distance.to(frame)
        questions = [known.novelty.question(frame, row) for row in range(frame.size)]
        predictions: dict[int, Prediction] = {}
        for question in dict.fromkeys(questions):
            asked = np.flatnonzero([of_row is question for of_row in questions])
            part = frame.take(asked)
            answering = known.answering[question.value]
            figures = answering.model.log_figure(part)
            by_fold = np.array([model.log_figure(part) for model in answering.by_fold])
            is_known = answering.model.base.knows(part)
            for place, row in enumerate(asked):
                predictions[int(row)] = self._prediction(
                    frame, int(row), question, distances[row], float(figures[place]),
                    by_fold[:, place] if len(by_fold) else None, bool(is_known[place]), refuses,
                )  # fmt: skip
        return [predictions[row] for row in range(frame.size)]

    def _prediction(
        self,
        frame: FeatureFrame,
        row: int,
        question: Question,
        distances: NDArray[np.float64],
        log_figure: float,
        by_fold: NDArray[np.float64] | None,
        is_known: bool,
        refuses: bool,
    ) -> Prediction:
        known = self._known
        answering = known.answering[question.value]
        status, reasons = known.novelty.judge(frame, row, float(distances.min()))
        if not is_known:
            status = Status.REFUSE
            reasons = (*reasons, f"{answering.model.base.name} needs what is not known")
        is_given = is_known and (status is not Status.REFUSE or not refuses)
        ends, outcomes = None, np.array([])
        if is_given and answering.calibration is not None and by_fold is not None:
            difficulty = float(_difficulty(distances.min(keepdims=True), known.typical_distance)[0])
            ends = answering.calibration.interval(by_fold, difficulty, level=self.level)
            outcomes = answering.calibration.outcomes(by_fold, difficulty)
        return Prediction(
            figure=float(np.exp(log_figure)) if is_given else None,
            low=float(np.exp(ends[0])) if ends else None,
            high=float(np.exp(ends[1])) if ends else None,
            level=self.level,
            outcomes=tuple(np.exp(outcomes).tolist()) if ends else (),
            basis=Basis(
                configurations=known.table.size,
                measurements=int(known.table.repeats.sum()),
                model=answering.model.name,
                question=question,
                calibrated_by=answering.calibrated_by,
                no_interval_because=answering.no_interval_because,
            ),
            status=status,
            reasons=reasons,
            nearest=self._nearest(distances),
        )

    def _nearest(self, distances: NDArray[np.float64]) -> tuple[Neighbour, ...]:
        table = self._known.table
        order = np.argsort(distances, kind="stable")[:_NEIGHBOURS]
        return tuple(
            Neighbour(
                label=table.labels[number],
                figure=float(table.values[number]),
                distance=float(distances[number]),
            )
            for number in order
        )

    def save(self, path: Path) -> None:
        """Write it to a file that only this installation reads back.

        Raises:
            NotPossibleError: If nothing was learned yet.
            OSError: If the file cannot be written.
        """
        write_model(path, {"target": self.target, "level": self.level, "fitted": self._known})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back.

        Raises:
            SizeupError: If the file is not there, was changed, or was written by another installation.
        """
        content = read_model(path)
        predictor = cls(content["target"], level=content["level"])
        predictor._fitted = content["fitted"]
        return predictor


def _difficulty(distances: NDArray[np.float64], typical: float) -> NDArray[np.float64]:
    """Return how hard rows are: 1 near measured ones, and in proportion to the distance far from them."""
    if typical <= 0:
        return np.ones(len(distances))
    return np.asarray(np.sqrt((1 + (distances / typical) ** 2) / 2), dtype=np.float64)


def _too_few(question: Question, count: int, needed: int) -> str:
    return f"{count} {_plural(question, count)} measured, {needed} are needed for an interval"


def _calibrated_by(question: Question, count: int, factor: float) -> str:
    text = f"leaving out each of {count} {_plural(question, count)}"
    return text if factor == 1 else f"{text}, widened {factor:.2f} times for another one"


def _plural(question: Question, count: int) -> str:
    return question.value if count == 1 else f"{question.value}s"
