"""How long a sweep will take, from what earlier trials took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.measurement import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from profiler.measurement import Measurement
    from profiler.sweep.plan import PlannedTrial


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """How long trials take, and what that rests on."""

    seconds: float | None
    """None where nothing comparable was measured."""
    same_spec: int
    """Trials whose own spec was measured before."""
    same_model: int
    """Trials judged by others of their model."""
    unknown: int
    """Trials of models that were never measured: their time is not in `seconds`."""


def estimate_time(trials: Sequence[PlannedTrial], earlier: Iterable[Measurement]) -> TimeEstimate:
    """Estimate the time of trials from earlier rows of the same device and protocol.

    A trial takes the median of its own spec's earlier trials, else of its model's. The time of a trial of a
    model that was never measured is unknown, and left out.
    """
    by_spec: dict[str, list[float]] = defaultdict(list)
    by_model: dict[str, list[float]] = defaultdict(list)
    for row in earlier:
        seconds = row.figures.get("trial_seconds")
        if seconds is not None and row.outcome is Outcome.OK:
            by_spec[row.spec.key].append(seconds)
            by_model[row.spec.model].append(seconds)
    total, same_spec, same_model = 0.0, 0, 0
    for trial in trials:
        if known := by_spec.get(trial.spec.key):
            same_spec += 1
        elif known := by_model.get(trial.spec.model):
            same_model += 1
        else:
            continue
        total += statistics.median(known)
    counted = same_spec + same_model
    return TimeEstimate(
        seconds=total if counted else None,
        same_spec=same_spec,
        same_model=same_model,
        unknown=len(trials) - counted,
    )
