"""What a predictor is worth: errors and intervals on rows left out, next to the baselines.

Never a random split of measurements alone: whole configurations, methods, models or devices are left out, and
the newest rows are predicted from the older ones. Everything is chosen and fitted inside each split.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.learned.folds import assign_folds, baseline_models
from estimators.learned.novelty import FAR, Novelty
from estimators.learned.prediction import Question, Status
from estimators.learned.predictor import LEVEL, LearnedPredictor
from estimators.learned.targets import find_target
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from estimators.learned.folds import Model
    from estimators.learned.prediction import Prediction
    from estimators.learned.table import TrainingTable

LEARNED = "learned"
_BLOCKS = 4
"""Parts of the rows in order of time; each but the first is predicted from those before it."""


class Split(enum.StrEnum):
    """What is left out together."""

    CONFIGURATION = "configuration"
    METHOD = "method"
    MODEL = "model"
    DEVICE = "device"
    TIME = "time"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Errors of one predictor over one way to leave rows out. Errors and widths are fractions."""

    split: Split
    predictor: str
    rows: int
    """Rows predicted: a base may lack what it needs of some."""
    error_median: float
    error_p90: float
    intervals: int
    """Rows for which an interval was claimed."""
    coverage: float | None
    """Part of these inside their interval; None where none was claimed."""
    coverage_p_value: float | None
    """Of the two-sided binomial test that the coverage is the level."""
    width_mean: float | None
    """Mean of high / low - 1."""
    interval_score: float | None
    """Mean interval score of the logarithms (Gneiting and Raftery 2007, eq. 43); smaller is better."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """All scores of one figure."""

    target: str
    level: float
    scores: tuple[Score, ...]
    absent: dict[Split, str]
    """Splits that the table has no groups for, and why."""
    alarms: int
    """Left-out configurations called outside the data although their settings are inside the others'."""
    alarms_of: int
    """How many those were."""


def validate(table: TrainingTable, target: str, *, level: float = LEVEL) -> Validation:
    """Return the scores of the learned predictor and of the baselines, on every split the table has.

    Raises:
        NotPossibleError: If the table has no row.
    """
    scores: list[Score] = []
    absent: dict[Split, str] = {}
    alarms = alarms_of = 0
    models = {LEARNED: None, **baseline_models(find_target(target))}
    for split in Split:
        parts = list(_parts(table, split))
        if not parts:
            absent[split] = _why_absent(table, split)
            continue
        for name, of_name in models.items():
            predicted = _left_out(table, target, parts, of_name, level)
            if predicted:
                scores.append(_score(table, split, name, predicted, level))
            if name == LEARNED and split is Split.CONFIGURATION:
                inside = [prediction for _, prediction in predicted if _is_inside(prediction)]
                alarms_of = len(inside)
                alarms = sum(prediction.status is not Status.OK for prediction in inside)
    return Validation(
        target=target, level=level, scores=tuple(scores), absent=absent, alarms=alarms, alarms_of=alarms_of
    )


def _parts(table: TrainingTable, split: Split) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the numbers of the rows to learn from, and of those to predict."""
    if split is Split.TIME:
        order = np.argsort(table.moments, kind="stable")
        blocks = np.array_split(order, _BLOCKS)
        for number in range(1, _BLOCKS):
            before = np.concatenate(blocks[:number])
            if len(blocks[number]) and len(before):
                yield before, blocks[number]
        return
    groups = table.groups_of(Question(split.value))
    if len(set(groups)) < 2:
        return
    fold = assign_folds(groups)
    for number in range(int(fold.max()) + 1):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _why_absent(table: TrainingTable, split: Split) -> str:
    if split is Split.TIME or split is Split.CONFIGURATION:
        return "one configuration only" if table.size == 1 else f"{table.size} configurations only"
    return f"one {split.value} only"


def _left_out(
    table: TrainingTable,
    target: str,
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    models: list[Model] | None,
    level: float,
) -> list[tuple[int, Prediction]]:
    predicted: list[tuple[int, Prediction]] = []
    for inside, outside in parts:
        predictor = LearnedPredictor(target, level=level, models=models)
        try:
            predictor.fit(table.take(inside), questions=_questions(table, inside, outside))
        except NotPossibleError:
            continue
        found = predictor.predict_frame(table.frame.take(outside), refuses=False)
        predicted += zip((int(number) for number in outside), found, strict=True)
    return [(number, prediction) for number, prediction in predicted if prediction.figure is not None]


def _questions(table: TrainingTable, inside: NDArray[np.int64], outside: NDArray[np.int64]) -> set[Question]:
    novelty, frame = Novelty.of(table.take(inside)), table.frame.take(outside)
    return {novelty.question(frame, row) for row in range(frame.size)}


def _score(
    table: TrainingTable, split: Split, name: str, predicted: list[tuple[int, Prediction]], level: float
) -> Score:
    measured = np.array([table.values[number] for number, _ in predicted])
    figures = np.array([prediction.figure for _, prediction in predicted], dtype=float)
    errors = np.abs(figures / measured - 1)
    claimed = [
        (float(value), prediction.low, prediction.high)
        for value, (_, prediction) in zip(measured, predicted, strict=True)
        if prediction.low is not None and prediction.high is not None
    ]
    coverage = p_value = width = interval_score = None
    if claimed:
        from scipy.stats import binomtest  # type: ignore[import-untyped]

        values, low, high = np.array(claimed).T
        inside = (low <= values) & (values <= high)
        coverage, width = float(inside.mean()), float((high / low - 1).mean())
        p_value = float(binomtest(int(inside.sum()), len(values), level).pvalue)
        below, above = np.log(low / values).clip(min=0), np.log(values / high).clip(min=0)
        interval_score = float((np.log(high / low) + 2 / (1 - level) * (below + above)).mean())
    return Score(
        split=split,
        predictor=name,
        rows=len(predicted),
        error_median=float(np.median(errors)),
        error_p90=float(np.quantile(errors, 0.9)),
        intervals=len(claimed),
        coverage=coverage,
        coverage_p_value=p_value,
        width_mean=width,
        interval_score=interval_score,
    )


def _is_inside(prediction: Prediction) -> bool:
    """Whether a left-out row has known categories and settings between measured ones: an alarm is false."""
    return all(reason == FAR for reason in prediction.reasons)
