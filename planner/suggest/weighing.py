"""What each trial is worth for what it costs, for either goal, and when nothing is worth it any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from estimators.suggest import Belief, correlations, variance_after, variance_removed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.learned import Prediction
    from planner.suggest.goal import Goal
    from profiler.spec import TrialSpec

_FIRST = "nothing is measured yet, and it is in the middle of all"
_FAR = "far for its cost from what is measured, which is too little to say how wrong predictions are"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A trial to run, and why."""

    spec: TrialSpec
    why: str
    figure: float | None
    """Prediction of the goal's figure; None where nothing is known of it yet."""
    probability_within_limits: float | None
    """None without limits, or where nothing tells."""
    worth: float | None
    """Expected part by which the best falls, or part of the variance that goes; None while it is unknown."""
    cost_seconds: float | None
    """Predicted time of the whole trial; None where nothing like it was timed."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Trials that could be run, and what is believed of them."""

    specs: tuple[TrialSpec, ...]
    distances: NDArray[np.float64]
    """Between them and the measured ones, shape (candidates, candidates + measured)."""
    typical_distance: float
    figures: dict[str, list[Prediction] | None]
    """By name; None where nothing was learned."""
    costs: NDArray[np.float64] | None
    """Seconds, or their proportions where no trial was timed as a whole; None where nothing tells."""
    are_costs_seconds: bool

    def figure(self, goal: Goal, number: int) -> float | None:
        """Return the prediction of the goal's figure of one trial; None where nothing tells."""
        predictions = self.figures[goal.figure]
        return predictions[number].figure if predictions is not None else None

    def suggestion(self, goal: Goal, number: int, *, why: str, worth: float | None) -> Suggestion:
        """Return one of them as a suggestion."""
        within = float(self.within_limits(goal)[number]) if goal.limits else np.nan
        return Suggestion(
            spec=self.specs[number],
            why=why,
            figure=self.figure(goal, number),
            probability_within_limits=None if np.isnan(within) else within,
            worth=worth,
            cost_seconds=float(self.costs[number])
            if self.costs is not None and self.are_costs_seconds
            else None,
        )

    def beliefs(self, goal: Goal) -> list[Belief] | None:
        """Return what is believed of the goal's figure of each trial; None while too little is measured.

        A trial of which less is known than of the others is as uncertain as the most uncertain of them.
        """
        predictions = self.figures[goal.figure] or []
        found = [Belief.of(prediction) for prediction in predictions]
        known = [belief for belief in found if belief is not None]
        if not known or any(prediction.figure is None for prediction in predictions):
            return None
        widest = max(known, key=lambda belief: belief.log_scale)
        return [
            belief or replace(widest, log_centre=float(np.log(prediction.figure or np.nan)))
            for belief, prediction in zip(found, predictions, strict=True)
        ]

    def within_limits(self, goal: Goal) -> NDArray[np.float64]:
        """Return the probability that each trial keeps to all limits; NaN where nothing tells."""
        probabilities = np.ones(len(self.specs))
        for limit in goal.limits:
            predictions = self.figures[limit.figure]
            if predictions is None:
                return np.full(len(self.specs), np.nan)
            probabilities = probabilities * [_below(prediction, limit.most) for prediction in predictions]
        return probabilities


def _below(prediction: Prediction, limit: float) -> float:
    probability = prediction.probability_below(limit)
    return np.nan if probability is None else probability


def for_the_best(
    candidates: Candidates, goal: Goal, best: float | None, noise: float, count: int
) -> tuple[list[Suggestion], str | None]:
    """Return trials by expected improvement within the limits per cost, and why to stop if one should.

    Args:
        candidates: The trials.
        goal: What is looked for.
        best: The best value that was measured within the limits; None if there is none yet.
        noise: Standard deviation of the logarithm of repeats: an improvement below it cannot be told.
        count: Return so many.
    """
    beliefs = candidates.beliefs(goal)
    if beliefs is None:
        return _far_ones(candidates, goal, count), None
    scaled = [
        belief.times(goal.per_sample(spec)) for belief, spec in zip(beliefs, candidates.specs, strict=True)
    ]
    # Before anything keeps to the limits, what does so is better than any that does not.
    reference = best if best is not None else float(np.exp(max(belief.log_centre for belief in scaled)))
    improvements = np.array([belief.expected_improvement(reference) for belief in scaled])
    within = candidates.within_limits(goal)
    worth = improvements * np.where(np.isnan(within), 1.0, within)
    order = np.argsort(-worth / _costs(candidates), kind="stable")[:count]
    stop = None
    if best is not None and worth.max() < noise:
        stop = (
            f"no trial is expected to be better than the best by more than {worth.max():.2%}, and repeats "
            f"differ by {noise:.2%}"
        )
    what = "better than the best so far" if best is not None else "better than the worst prediction"
    return [
        candidates.suggestion(
            goal,
            int(number),
            why=f"expected to be {worth[number]:.2%} {what}, limits counted",
            worth=float(worth[number]),
        )
        for number in order
    ], stop


def for_the_map(
    candidates: Candidates, goal: Goal, noise: float, count: int
) -> tuple[list[Suggestion], str | None]:
    """Return trials by variance removed per cost, each after those before it, and why to stop if one should.

    Args:
        candidates: The trials.
        goal: What is looked for.
        noise: Standard deviation of the logarithm of repeats: no prediction can be better.
        count: Return so many.
    """
    beliefs = candidates.beliefs(goal)
    if beliefs is None:
        return _far_ones(candidates, goal, count), None
    variances = np.array([belief.log_scale**2 for belief in beliefs])
    correlation = correlations(candidates.distances[:, : len(beliefs)], candidates.typical_distance)
    total, widest = float(variances.sum()), float(np.sqrt(variances.max()))
    is_open = np.ones(len(beliefs), dtype=bool)
    suggestions: list[Suggestion] = []
    for _ in range(min(count, len(beliefs))):
        removed = variance_removed(variances, correlation, noise)
        number = int(np.where(is_open, removed / _costs(candidates), -np.inf).argmax())
        part = float(removed[number]) / total
        why = f"removes {part:.2%} of what is uncertain over all {len(beliefs):,} trials"
        suggestions.append(candidates.suggestion(goal, number, why=why, worth=part))
        variances = variance_after(variances, correlation, number, noise)
        is_open[number] = False
    stop = None
    if widest <= noise:
        stop = f"every prediction is good to {widest:.2%}, and repeats differ by {noise:.2%}"
    return suggestions, stop


def _far_ones(candidates: Candidates, goal: Goal, count: int) -> list[Suggestion]:
    """Return trials that cover the space: each the farthest, for its cost, from all before it.

    Farthest-first traversal (Gonzalez, Clustering to minimize the maximum intercluster distance, 1985), per
    cost. Trials that are predicted to break a limit come last.
    """
    among = candidates.distances[:, : len(candidates.specs)]
    known = candidates.distances[:, len(candidates.specs) :]
    breaks = np.array([_breaks_a_limit(candidates, goal, number) for number in range(len(among))])
    suggestions: list[Suggestion] = []
    chosen: list[int] = []
    for _ in range(min(count, len(among))):
        if known.shape[1] or chosen:
            nearest = np.concatenate([known, among[:, chosen]], axis=1).min(axis=1)
            score, why = nearest / _costs(candidates), _FAR
        else:
            score, why = -among.sum(axis=1), _FIRST
        rank = np.lexsort((-score, breaks))
        number = next(int(place) for place in rank if place not in chosen)
        chosen.append(number)
        suggestions.append(candidates.suggestion(goal, number, why=why, worth=None))
    return suggestions


def _breaks_a_limit(candidates: Candidates, goal: Goal, number: int) -> bool:
    for limit in goal.limits:
        predictions = candidates.figures[limit.figure]
        figure = predictions[number].figure if predictions is not None else None
        if figure is not None and figure > limit.most:
            return True
    return False


def _costs(candidates: Candidates) -> NDArray[np.float64]:
    return candidates.costs if candidates.costs is not None else np.ones(len(candidates.specs))
