"""`learn`: predictors from the measurements of a store, and what they are worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.features import FeatureSource, Place
from estimators.learned import TARGETS, LearnedPredictor, training_table, validate
from estimators.learned.configurations import method_and_model
from estimators.symbolic.tracer import Tracer
from profiler.errors import NotPossibleError, SizeupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estimators.features import FeatureRow
    from estimators.learned import Configuration, TrainingTable
    from estimators.learned.validation import Validation

MOST_CONFIGURATIONS = 2000
"""Of more, so many are learned from: errors hardly fall beyond, and time goes on growing."""
MOST_VALIDATED = 400
"""Of more, so many are validated on: each is predicted by a model of its own part of the others."""


@dataclass(frozen=True, kw_only=True)
class LearnedFigure:
    """A predictor and what it is worth."""

    predictor: LearnedPredictor
    validation: Validation
    validated_on: int
    """Configurations, a sample where there are many."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """All that was learned, and from what."""

    figures: tuple[LearnedFigure, ...]
    configurations: tuple[Configuration, ...]
    """Those that were learned from or ran out of memory, a sample where there are many."""
    measurements: int
    configurations_found: int
    without_features: Counter[str]
    """Why configurations were left out, and how many were."""
    not_learned: dict[str, str]
    """Figures that nothing was learned of, and why."""
    oom_configurations: int
    oom_bounds_kept: int
    """Of those that say what they needed at least, how many are predicted to need no less."""
    oom_bounds: int


def learn(
    found: Sequence[Configuration],
    *,
    targets: Sequence[str] = tuple(TARGETS),
    tracer: Tracer | None = None,
    on_stage: Callable[[str], None] = lambda _stage: None,
) -> Learned:
    """Learn figures from configurations, and validate what was learned.

    Args:
        found: What was measured.
        targets: Names of figures.
        tracer: Gives the traces; by default one of this call's own.
        on_stage: Is told in a few words what is being done.

    Raises:
        SizeupError: If nothing can be learned of any of the figures.
    """
    if tracer is None:
        with Tracer() as own:
            return learn(found, targets=targets, tracer=own, on_stage=on_stage)
    kept = _sample(found, MOST_CONFIGURATIONS)
    rows, without = _features(kept, FeatureSource(tracer, on_stage=on_stage))
    figures: list[LearnedFigure] = []
    not_learned: dict[str, str] = {}
    for target in targets:
        table = training_table(target, rows)
        on_stage(f"learning {target} from {table.size} configurations")
        try:
            predictor = LearnedPredictor(target).fit(table)
        except NotPossibleError as error:
            not_learned[target] = str(error)
            continue
        sample = table.take(_evenly(_strata_of(table), MOST_VALIDATED))
        figures.append(
            LearnedFigure(predictor=predictor, validation=validate(sample, target), validated_on=sample.size)
        )
    if not figures:
        raise SizeupError(_nothing(found, not_learned, without))
    bounds, kept_bounds = _oom_bounds(rows, figures)
    return Learned(
        figures=tuple(figures),
        configurations=tuple(kept),
        measurements=sum(sum(one.outcomes.values()) for one in found),
        configurations_found=len(found),
        without_features=without,
        not_learned=not_learned,
        oom_configurations=sum(one.outcomes["oom"] > 0 for one in found),
        oom_bounds=bounds,
        oom_bounds_kept=kept_bounds,
    )


def _features(
    kept: Sequence[Configuration], source: FeatureSource
) -> tuple[list[tuple[Configuration, FeatureRow]], Counter[str]]:
    """Return the configurations with their features, and why others have none."""
    without: Counter[str] = Counter()
    placed: list[tuple[Configuration, Place]] = []
    for one in kept:
        try:
            placed.append((one, Place.of(one.device, one.environment.facts)))
        except NotPossibleError as error:
            without[str(error)] += 1
    rows: list[tuple[Configuration, FeatureRow]] = []
    for (one, _), found in zip(
        placed, source.rows([(one.spec, place) for one, place in placed]), strict=True
    ):
        if isinstance(found, SizeupError):
            without[str(found)] += 1
        else:
            rows.append((one, found))
    return rows, without


def _sample(found: Sequence[Configuration], most: int) -> list[Configuration]:
    """Return at most so many configurations, evenly over models and methods; with figures before without."""
    useful = [one for one in found if one.figures or one.outcomes["oom"]]
    chosen = _evenly([method_and_model(one) for one in useful], most)
    return [useful[number] for number in chosen]


def _strata_of(table: TrainingTable) -> list[tuple[str, str]]:
    models, methods = table.frame.category("model").tolist(), table.frame.category("method").tolist()
    return list(zip(models, methods, strict=True))


def _evenly(strata: Sequence[tuple[str, str]], most: int) -> np.ndarray:
    """Return the numbers of at most so many rows, in order, as many of each stratum as there are.

    Which of a stratum is left to chance, with a seed: the same rows always give the same sample.
    """
    if len(strata) <= most:
        return np.arange(len(strata))
    shuffled = np.random.default_rng(0).permutation(len(strata))
    turn_of: Counter[tuple[str, str]] = Counter()
    turns = np.empty(len(strata), dtype=np.int64)
    for number in shuffled:
        turns[number] = turn_of[strata[number]]
        turn_of[strata[number]] += 1
    return np.sort(shuffled[np.argsort(turns[shuffled], kind="stable")][:most])


def _oom_bounds(
    rows: Sequence[tuple[Configuration, FeatureRow]], figures: Sequence[LearnedFigure]
) -> tuple[int, int]:
    """Return how many out-of-memory configurations say what they needed, and how many predictions agree."""
    allocated = [one for one in figures if one.predictor.target == "peak_allocated_bytes"]
    bounded = [
        (one.bytes_at_oom, row) for one, row in rows if one.bytes_at_oom is not None and not one.figures
    ]
    if not allocated or not bounded:
        return len(bounded), 0
    predicted = allocated[0].predictor.predict([row for _, row in bounded])
    agree = [
        prediction.figure is not None and (prediction.high or prediction.figure) >= bound
        for (bound, _), prediction in zip(bounded, predicted, strict=True)
        if bound is not None
    ]
    return len(bounded), sum(agree)


def _nothing(found: Sequence[Configuration], not_learned: dict[str, str], without: Counter[str]) -> str:
    outcomes = sum((one.outcomes for one in found), Counter[str]())
    if not any(one.figures for one in found):
        counted = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
        return f"none of the measurements has a figure to learn: {counted}"
    if without:
        reason, count = without.most_common(1)[0]
        return f"nothing is known of {count:,} of {len(found):,} configurations before they run: {reason}"
    return "; ".join(dict.fromkeys(not_learned.values()))
