"""Which rows of a store are learned from: one environment and one origin, unless asked otherwise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from estimators.learned import configurations
from profiler.devices import find_device
from profiler.environment import environment_of
from profiler.errors import NotPossibleError, SizeupError, UsageError
from profiler.expression import Expression

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from estimators.learned import Configuration
    from profiler.measurement import Environment, Measurement
    from profiler.store import Store

_MOST_LISTED = 5


def learning_rows(
    store: Store, *, origins: Collection[str], where: str | None, mix_environments: bool
) -> list[Configuration]:
    """Return the configurations to learn from.

    Of several environments, that of this machine is taken.

    Args:
        store: The measurements.
        origins: Where rows come from.
        where: A condition on rows, as `sizeup results --where` has it.
        mix_environments: Take all environments together.

    Raises:
        UsageError: If the condition is wrong, or the rows are of several environments, none of them that of
            this machine.
        SizeupError: If no row meets this.
    """
    measurements = _measurements(store, origins, where)
    if not measurements:
        raise SizeupError(f"no measurement in {store.location} meets this: there is nothing to learn from")
    environments = {one.environment.key: one.environment for one in measurements}
    if len(environments) > 1 and not mix_environments:
        here = _environments_here() & set(environments)
        if len(here) != 1:
            raise UsageError(_several(environments, measurements))
        measurements = [one for one in measurements if one.environment.key in here]
    return configurations(measurements)


def _measurements(store: Store, origins: Collection[str], where: str | None) -> list[Measurement]:
    measurements = store.measurements(origins=tuple(origins))
    if where is None:
        return list(measurements)
    table = store.table(origins=tuple(origins))
    meets = Expression.parse(where, names=table.columns).matches
    kept = {row["id"] for row in table.where(meets).rows()}
    return [one for one in measurements if one.id in kept]


def _environments_here() -> set[str]:
    keys = set()
    for device in ("cpu", "cuda"):
        try:
            keys.add(environment_of(find_device(device)).key)
        except NotPossibleError:
            continue
    return keys


def _several(environments: dict[str, Environment], measurements: Sequence[Measurement]) -> str:
    counts = Counter(one.environment.key for one in measurements)
    shown = [
        f"{key} ({environments[key].facts.get('device_name', 'unknown device')}, "
        f"torch {environments[key].facts.get('torch_version', 'unknown')}, {count:,} rows)"
        for key, count in counts.most_common(_MOST_LISTED)
    ]
    more = f" and {len(counts) - _MOST_LISTED:,} more" if len(counts) > _MOST_LISTED else ""
    return (
        f"the rows are of {len(counts):,} environments: {', '.join(shown)}{more}; choose with "
        "--where 'environment_key == \"...\"', or take all together with --mix-environments"
    )
