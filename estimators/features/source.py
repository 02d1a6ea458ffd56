"""`FeatureSource`: the features of many configurations, with as few traces as will do.

Trials that differ in batch size and length only are one group. Up to `_TRACED_SIZES` sizes of a group are
traced one by one; of more, a few sizes are traced, and the totals of all others follow from polynomials
(`estimators.features.sizes`). The totals of a group are kept in one file of the cache.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from estimators.cache import cached_path, replacing
from estimators.features.row import feature_row
from estimators.features.sizes import SizedTotals
from estimators.features.totals import StepTotals, step_totals, work_of
from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError, SizeupError
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from estimators.features.place import Place
    from estimators.features.row import FeatureRow
    from estimators.ledger import Ledger
    from estimators.symbolic.tracer import Tracer
    from estimators.target import Target
    from profiler.spec import TrialSpec

_TRACED_SIZES = 6
"""A polynomial takes as many traces."""
_MOST_TRACED = 60
"""Sizes of one group that are traced one by one where polynomials do not tell them."""
_MICRO_BATCHES = 2

Found = StepTotals | SizeupError


class FeatureSource:
    """Gives the features of configurations, from the cache or from traces.

    Args:
        tracer: Gives the traces.
        on_stage: Is told in a few words what is being done.
    """

    def __init__(self, tracer: Tracer, *, on_stage: Callable[[str], None] = lambda _stage: None) -> None:
        self._tracer = tracer
        self._on_stage = on_stage

    def rows(self, asked: Sequence[tuple[TrialSpec, Place]]) -> list[FeatureRow | SizeupError]:
        """Return the features of each configuration, or the error that says why there are none."""
        found = self._totals([(spec, place.target) for spec, place in asked])
        return [
            totals if isinstance(totals, SizeupError) else feature_row(spec, place, totals)
            for (spec, place), totals in zip(asked, found, strict=True)
        ]

    def _totals(self, asked: Sequence[tuple[TrialSpec, Target]]) -> list[Found]:
        groups = _grouped(asked)
        for group in groups:
            if len(group.missing) > _TRACED_SIZES:
                self._find_by_polynomials(group)
        self._find_by_traces([group for group in groups if group.missing])
        found = {
            number: group.found[size]
            for group in groups
            for size, numbers in group.numbers.items()
            for number in numbers
        }
        return [found[number] for number in range(len(asked))]

    def _find_by_polynomials(self, group: _Group) -> None:
        """Find all missing sizes; where that cannot be, refuse those beyond what is traced one by one."""
        missing = group.missing
        spec = min(missing.values(), key=lambda one: one.batch_size * one.sequence_length)
        self._on_stage(f"tracing {spec.model} {spec.method} for {len(missing)} sizes")
        probe = TraceRequest(spec=_micro_batches(spec)[0], target=group.target)
        (smallest,) = self._tracer.trace_all([probe])
        if isinstance(smallest, SizeupError):  # what is refused at the smallest size is refused at all
            group.found |= dict.fromkeys(missing, smallest)
            return
        try:
            if spec.gradient_accumulation > _MICRO_BATCHES:
                raise NotPossibleError("many micro-batches are found from one and two of them")
            sized = SizedTotals.of(spec, group.target, self._tracer)
        except NotPossibleError as error:
            refused = NotPossibleError(
                f"{len(missing)} sizes of {spec.model} {spec.method} are more than the {_MOST_TRACED} that "
                f"are traced one by one, and they cannot be told from a few: {error}"
            )
            group.found |= dict.fromkeys(list(missing)[max(0, _MOST_TRACED - len(group.found)) :], refused)
            return
        group.add({size: sized.at(wanted) for size, wanted in missing.items()})

    def _find_by_traces(self, groups: Sequence[_Group]) -> None:
        """Trace every missing size of some groups, all together."""
        wanted = [(group, size, spec) for group in groups for size, spec in group.missing.items()]
        if not wanted:
            return
        self._on_stage(f"tracing {len(wanted)} configurations")
        ledgers = iter(
            self._tracer.trace_all(
                [
                    TraceRequest(spec=traced, target=group.target)
                    for group, _, spec in wanted
                    for traced in _micro_batches(spec)
                ]
            )
        )
        found: dict[str, dict[str, Found]] = {}
        for group, size, spec in wanted:
            of_spec = [next(ledgers) for _ in _micro_batches(spec)]
            found.setdefault(group.name, {})[size] = _sum_up(of_spec, spec, group.target)
        for group in groups:
            group.add(found[group.name])


@dataclass(kw_only=True)
class _Group:
    """Trials that differ in their sizes only, by size."""

    name: str
    target: Target
    specs: dict[str, TrialSpec] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    """Of each size, which of the questions ask for it."""
    found: dict[str, Found] = field(default_factory=dict)

    @property
    def missing(self) -> dict[str, TrialSpec]:
        """Sizes not found yet."""
        return {size: spec for size, spec in self.specs.items() if size not in self.found}

    def add(self, found: Mapping[str, Found]) -> None:
        """Add what was found, and keep it in the cache."""
        self.found |= found
        totals = {size: of_size for size, of_size in found.items() if isinstance(of_size, StepTotals)}
        if totals:
            _write(_path(self), {**_read(_path(self)), **totals})


def _grouped(asked: Sequence[tuple[TrialSpec, Target]]) -> list[_Group]:
    """Return the groups of some questions, with what the cache has of them."""
    groups: dict[tuple[str, Target], _Group] = {}
    for number, (spec, target) in enumerate(asked):
        name = _group_name(spec)
        group = groups.setdefault((name, target), _Group(name=f"{target.name} {name}", target=target))
        size = f"{spec.batch_size}x{spec.sequence_length}"
        group.specs.setdefault(size, spec)
        group.numbers.setdefault(size, []).append(number)
    for group in groups.values():
        known = _read(_path(group))
        group.found |= {size: known[size] for size in group.specs if size in known}
    return list(groups.values())


def _sum_up(ledgers: Sequence[Ledger | SizeupError], spec: TrialSpec, target: Target) -> Found:
    """Return the totals of a spec from its trace, or from those of one and of two micro-batches."""
    *first, last = ledgers
    for ledger in ledgers:
        if isinstance(ledger, SizeupError):
            return ledger
    assert not isinstance(last, SizeupError)
    totals = step_totals(last, spec, target)
    for one in first:
        assert not isinstance(one, SizeupError)
        totals = _extended(totals, work_of(one), spec.gradient_accumulation)
    return totals


def _micro_batches(spec: TrialSpec) -> list[TrialSpec]:
    """Return what to trace for a spec: of many micro-batches of equal shape, one and two of them."""
    changes: dict[str, str] = {} if spec.allocator == "default" else {"allocator": "default"}
    if spec.lengths is not None or spec.gradient_accumulation <= _MICRO_BATCHES:
        return [spec.with_changes(**changes) if changes else spec]
    return [spec.with_changes(**changes, gradient_accumulation=count) for count in (1, _MICRO_BATCHES)]


def _extended(two: StepTotals, one: dict[str, float], micro_batches: int) -> StepTotals:
    """Return the totals of many micro-batches: each after the first adds what the second adds."""
    of_two = asdict(two)
    grown = {
        name: of_two[name] + (micro_batches - _MICRO_BATCHES) * (of_two[name] - value)
        for name, value in one.items()
    }
    return StepTotals(**{**of_two, **grown})


def _group_name(spec: TrialSpec) -> str:
    rest = {
        name: value for name, value in spec.canonical.items() if name not in ("batch_size", "sequence_length")
    }
    return canonical_json(rest)


def _path(group: _Group) -> Path:
    return cached_path("totals", {"group": group.name})


def _read(path: Path) -> dict[str, StepTotals]:
    try:
        return {size: StepTotals(**totals) for size, totals in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, totals: dict[str, StepTotals]) -> None:
    """Keep totals; what somebody else has added meanwhile is lost, and found again."""
    text = json.dumps({size: asdict(of_size) for size, of_size in totals.items()})
    with contextlib.suppress(OSError), replacing(path) as file:
        file.write(text.encode())
