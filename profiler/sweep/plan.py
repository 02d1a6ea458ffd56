"""From a sweep file to the trials it stands for, in the order they are run."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.expression import Expression
from profiler.spec import TrialSpec
from profiler.spec.frozen import canonical_json
from profiler.sweep.file import TRIAL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from profiler.sweep.file import SweepFile

MAX_TRIALS = 100_000
"""The most combinations, and the most trials with their repeats, that one sweep may have."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One process to run."""

    spec: TrialSpec
    repeat: int
    """Counted from 1."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep file stands for."""

    specs: tuple[TrialSpec, ...]
    """Every spec once, in the order of the file."""
    trials: tuple[PlannedTrial, ...]
    """Interleaved (A B C A B C), so that a drift of the machine meets all specs alike."""
    collapsed: int
    """Combinations that were another spelling of an earlier one."""
    left_out: int
    """Specs that a `skip` condition left out."""
    skips_without_effect: tuple[str, ...] = ()
    """Conditions that left nothing out: likely a name spelled as the file does, not as the spec."""


def plan(sweep: SweepFile) -> SweepPlan:
    """Expand a sweep into its trials.

    The trials are the product of all lists of `grid` and axes of `together` over `base`, the last varying
    fastest, and then `trials`, each over `base`. Without a grid, an axis or a trial, `base` is the one trial.

    Raises:
        UsageError: If there are more than 100,000 combinations (or trials, repeats included), a combination
            is not a valid trial (the sentence names it), a condition cannot be applied, or nothing is left.
    """
    _check_count(sweep, _count(sweep), "combinations")
    conditions = [Expression.parse(text, names=TRIAL_FIELDS) for text in sweep.skip]
    effective: set[str] = set()
    seen: set[str] = set()
    specs: list[TrialSpec] = []
    collapsed = left_out = 0
    for settings in _combinations(sweep):
        spec = _spec(sweep, settings)
        if spec.key in seen:
            collapsed += 1
            continue
        seen.add(spec.key)
        matching = [condition.text for condition in conditions if _matches(sweep, condition, spec)]
        effective.update(matching)
        if matching:
            left_out += 1
        else:
            specs.append(spec)
    if not specs:
        raise UsageError(f"{sweep.subject}: no trial is left: skip leaves out all {left_out}")
    _check_count(sweep, len(specs) * sweep.repeats, "trials with their repeats")
    return SweepPlan(
        specs=tuple(specs),
        trials=tuple(
            PlannedTrial(spec=spec, repeat=repeat) for repeat in range(1, sweep.repeats + 1) for spec in specs
        ),
        collapsed=collapsed,
        left_out=left_out,
        skips_without_effect=tuple(
            condition.text for condition in conditions if condition.text not in effective
        ),
    )


def is_larger(spec: TrialSpec, than: TrialSpec) -> bool:
    """Whether `spec` is `than` with a larger batch and nothing else changed.

    Where `than` ran out of memory, such a spec would too.
    """
    if spec.batch_size <= than.batch_size:
        return False
    return {**spec.canonical, "batch_size": 0} == {**than.canonical, "batch_size": 0}


def _has_product(sweep: SweepFile) -> bool:
    return bool(sweep.grid or sweep.together or not sweep.trials)


def _count(sweep: SweepFile) -> int:
    product = math.prod(len(axis) for axis in (*sweep.grid.values(), *sweep.together))
    return (product if _has_product(sweep) else 0) + len(sweep.trials)


def _check_count(sweep: SweepFile, count: int, what: str) -> None:
    if count > MAX_TRIALS:
        raise UsageError(f"{sweep.subject}: it has {count:,} {what}; at most {MAX_TRIALS:,} are allowed")


def _combinations(sweep: SweepFile) -> Iterator[Mapping[str, Any]]:
    """Yield what sets each combination apart; `base` is not in it."""
    if _has_product(sweep):
        axes = [[{name: value} for value in values] for name, values in sweep.grid.items()]
        for parts in itertools.product(*axes, *sweep.together):
            yield {name: value for part in parts for name, value in part.items()}
    yield from sweep.trials


def _spec(sweep: SweepFile, settings: Mapping[str, Any]) -> TrialSpec:
    try:
        return TrialSpec.parse({**sweep.base, **settings})
    except UsageError as error:
        which = f"the combination {_label(settings)}" if settings else "base"
        raise UsageError(f"{sweep.subject}: {which}: {error}") from None


def _label(settings: Mapping[str, Any]) -> str:
    parts = (
        f"{name}={value if isinstance(value, str) else canonical_json(value)}"
        for name, value in settings.items()
    )
    label = " ".join(parts)
    return label if len(label) <= 120 else f"{label[:117]}..."


def _matches(sweep: SweepFile, condition: Expression, spec: TrialSpec) -> bool:
    try:
        return condition.matches({name: getattr(spec, name) for name in condition.names})
    except UsageError as error:
        raise UsageError(f"{sweep.subject}: skip: {condition.text}: {error}") from None
