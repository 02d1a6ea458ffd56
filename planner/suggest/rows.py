"""What a store holds for suggestions: the measured configurations, and what whole trials took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from estimators.suggest import TrialCost
from planner.learn.rows import learning_rows
from planner.suggest.goal import TIME
from profiler.measurement import Outcome
from profiler.store import Store
from profiler.store.location import find_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from estimators.learned import Configuration
    from profiler.measurement import Measurement


@dataclass(frozen=True, kw_only=True)
class MeasuredSpace:
    """What was measured in one environment."""

    found: list[Configuration]
    cost: TrialCost | None


def measured_space(
    location: str | None, *, origins: Collection[str], where: str | None, mix_environments: bool
) -> MeasuredSpace:
    """Read what was measured; a store that is not there, or has no such row, is an empty space.

    Args:
        location: As `Store.open`.
        origins: Where rows come from.
        where: A condition on rows, as `sizeup results --where` has it.
        mix_environments: Take all environments together.

    Raises:
        UsageError: As `learning_rows`.
        SizeupError: If rows are there, but none meets the condition.
    """
    place = find_store(location)
    if isinstance(place, Path) and not place.exists():
        return MeasuredSpace(found=[], cost=None)
    with Store.open(location, must_exist=True) as store:
        if next(iter(store.measurements(origins=tuple(origins))), None) is None:
            return MeasuredSpace(found=[], cost=None)
        found = learning_rows(store, origins=origins, where=where, mix_environments=mix_environments)
        environments = {one.environment.key for one in found}
        rows = store.measurements(origins=tuple(origins), spec_keys={one.spec.key for one in found})
        return MeasuredSpace(
            found=found, cost=trial_cost(row for row in rows if row.environment.key in environments)
        )


def trial_cost(rows: Iterable[Measurement]) -> TrialCost | None:
    """Return what whole trials took; None where no row says it."""
    trials = []
    for row in rows:
        whole, step, timed = (row.figures.get(name) for name in ("trial_seconds", TIME, "steps_timed"))
        if row.outcome is Outcome.OK and whole and step and timed:
            trials.append((float(whole), float(timed + (row.figures.get("warmup_steps") or 0)), float(step)))
    return TrialCost.of(trials)
