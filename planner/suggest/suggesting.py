"""`suggest`: the trials that are worth most for what they cost, and when to stop.

For a map, a trial is worth the variance of the figure's logarithm that it removes, over all trials of the
space; for the best, by what part the best value measured so far is expected to fall, times the probability
that the limits are kept. Both are divided by the seconds that the trial is predicted to take. While too
little is measured to say how wrong predictions are, trials are taken that are far from measured ones.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.features import FeatureSource, Place
from estimators.learned import LearnedPredictor, training_table
from estimators.learned.distance import Distance
from estimators.learned.novelty import nearest_other
from estimators.learned.table import FeatureFrame
from estimators.suggest import repeat_noise
from estimators.symbolic.tracer import Tracer
from planner.suggest.candidates import Skipped, does_not_fit, unmeasured
from planner.suggest.goal import TIME, Objective
from planner.suggest.weighing import Candidates, Suggestion, for_the_best, for_the_map
from profiler.errors import NotPossibleError, SizeupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estimators.features import FeatureRow
    from estimators.learned import Configuration, Prediction
    from estimators.suggest import TrialCost
    from planner.suggest.goal import Goal
    from profiler.spec import TrialSpec

MOST_CANDIDATES = 2000
"""Of more trials, so many are looked at, drawn by chance with a seed."""
_LEVEL = 0.5
"""Of the predictors' intervals, of which only the left-out residuals are used: the lower, the fewer rows."""


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """What to run next."""

    ordered: tuple[Suggestion, ...]
    """The first is worth most for its cost."""
    skipped: tuple[Skipped, ...]
    stop_because: str | None
    """Why nothing more need be run; None while it is worth it."""
    best: Configuration | None
    """The best that was measured within the limits."""
    best_value: float | None
    """Its figure; of the time, seconds per sample."""
    notes: tuple[str, ...]


def suggest(
    specs: Sequence[TrialSpec],
    place: Place,
    found: Sequence[Configuration],
    goal: Goal,
    *,
    cost: TrialCost | None = None,
    count: int = 5,
    tracer: Tracer | None = None,
    on_stage: Callable[[str], None] = lambda _stage: None,
) -> Suggestions:
    """Return which of many trials to run next.

    Args:
        specs: The trials to choose from.
        place: Where they would run.
        found: What was measured there.
        goal: What is looked for.
        cost: What whole trials take; None where that was not measured.
        count: Return so many, if there are.
        tracer: Gives the traces; by default one of this call's own.
        on_stage: Is told in a few words what is being done.
    """
    if tracer is None:
        with Tracer() as own:
            return suggest(specs, place, found, goal, cost=cost, count=count, tracer=own, on_stage=on_stage)
    notes: list[str] = []
    open_specs, skipped = unmeasured(specs, found)
    if len(open_specs) > MOST_CANDIDATES:
        notes.append(f"{MOST_CANDIDATES:,} of {len(open_specs):,} trials are looked at, drawn by chance")
        chosen = np.random.default_rng(0).choice(len(open_specs), MOST_CANDIDATES, replace=False)
        open_specs = [open_specs[number] for number in sorted(chosen)]
    source = FeatureSource(tracer, on_stage=on_stage)
    measured = _measured_rows(found, source, notes)
    able: list[tuple[TrialSpec, FeatureRow]] = []
    for spec, row in zip(open_specs, source.rows([(spec, place) for spec in open_specs]), strict=True):
        if isinstance(row, SizeupError):
            skipped.append(Skipped(spec=spec, reason=str(row)))
        elif does_not_fit(spec, row, place, tracer):
            skipped.append(Skipped(spec=spec, reason="the symbolic engine says that it does not fit"))
        else:
            able.append((spec, row))
    best, best_value = _best(found, goal)
    ordered: list[Suggestion] = []
    stop: str | None = "every trial is measured or cannot run"
    if able:
        on_stage(f"weighing {len(able)} trials")
        candidates = _candidates(able, measured, goal, cost)
        noise = repeat_noise(found, goal.figure)
        if goal.objective is Objective.MAP:
            ordered, stop = for_the_map(candidates, goal, noise, count)
        else:
            ordered, stop = for_the_best(candidates, goal, best_value, noise, count)
    return Suggestions(
        ordered=tuple(ordered),
        skipped=tuple(skipped),
        stop_because=stop,
        best=best,
        best_value=best_value,
        notes=tuple(notes),
    )


def _measured_rows(
    found: Sequence[Configuration], source: FeatureSource, notes: list[str]
) -> list[tuple[Configuration, FeatureRow]]:
    placed: list[tuple[Configuration, Place]] = []
    unknown = Counter[str]()
    for one in found:
        if not one.figures:
            continue
        try:
            placed.append((one, Place.of(one.device, one.environment.facts)))
        except NotPossibleError as error:
            unknown[str(error)] += 1
    rows: list[tuple[Configuration, FeatureRow]] = []
    features = source.rows([(one.spec, place) for one, place in placed])
    for (one, _), row in zip(placed, features, strict=True):
        if isinstance(row, SizeupError):
            unknown[str(row)] += 1
        else:
            rows.append((one, row))
    notes += [
        f"{count} measured configurations are not learned from: {why}" for why, count in unknown.items()
    ]
    return rows


def _best(found: Sequence[Configuration], goal: Goal) -> tuple[Configuration | None, float | None]:
    values = [
        (value, number)
        for number, one in enumerate(found)
        if goal.is_within_limits(one) and (value := goal.value(one)) is not None
    ]
    if not values:
        return None, None
    value, number = min(values)
    return found[number], value


def _candidates(
    able: Sequence[tuple[TrialSpec, FeatureRow]],
    measured: Sequence[tuple[Configuration, FeatureRow]],
    goal: Goal,
    cost: TrialCost | None,
) -> Candidates:
    frame = FeatureFrame.of([row for _, row in able])
    everything = FeatureFrame.of([*(row for _, row in able), *(row for _, row in measured)])
    distances = Distance.of(everything).to(everything)
    # Of what was measured, the distance to its neighbour; of a space without measurements, that within it.
    known = distances[len(able) :, len(able) :] if len(measured) > 1 else distances
    figures: dict[str, list[Prediction] | None] = {}
    for name in goal.figures:
        table = training_table(name, measured)
        try:
            predictor = LearnedPredictor(name, level=_LEVEL).fit(table)
        except NotPossibleError:
            figures[name] = None
            continue
        figures[name] = predictor.predict_frame(frame, refuses=False)
    seconds = np.array(
        [prediction.figure or math.nan for prediction in figures[TIME] or ()], dtype=np.float64
    )
    costs = None
    if not np.isnan(seconds).all():
        costs = np.where(np.isnan(seconds), np.nanmedian(seconds), seconds)
        costs = cost.overhead_seconds + cost.steps * costs if cost is not None else costs
    return Candidates(
        specs=tuple(spec for spec, _ in able),
        distances=distances[: len(able)],
        typical_distance=float(np.median(nearest_other(known, np.arange(len(known))))),
        figures=figures,
        costs=costs,
        are_costs_seconds=cost is not None,
    )
