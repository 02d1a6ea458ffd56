"""Units that foreign figures come in, and their conversion into the one in a field's name."""

from __future__ import annotations

from typing import Any

from profiler.errors import UsageError
from profiler.spec.validation import shown

# What one of each is in the unit of the field's name.
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
_QUANTITIES: dict[str, dict[str, float]] = {
    "bytes": {**_BYTES},
    "seconds": _SECONDS,
    "watts": {"W": 1.0, "kW": 1e3},
    "joules": {"J": 1.0, "kJ": 1e3, "Wh": 3600.0, "kWh": 3.6e6},
    "mhz": {"MHz": 1.0, "GHz": 1e3},
}
_SHARES = {"%": 0.01}
_PER_SECOND = "1/s"
"""What a time is the inverse of, such as steps per second."""


def units_of(name: str) -> tuple[str, ...]:
    """Return the units that a field's numbers can come in; none where it has no unit."""
    table = _table(name)
    return (*table, _PER_SECOND) if table is _SECONDS else tuple(table)


def check_unit(name: str, unit: str) -> str:
    """Return a unit that a field's numbers can come in.

    Raises:
        UsageError: If they cannot.
    """
    units = units_of(name)
    if not units:
        raise UsageError(f"{name} has no unit, so {unit!r} cannot be converted")
    if unit not in units:
        raise UsageError(f"{name} cannot be in {unit!r}; known: {', '.join(units)}")
    return unit


def convert(name: str, value: Any, unit: str) -> float:
    """Return a number in the unit of a field's name.

    Raises:
        UsageError: If the value is no number, or the field cannot come in the unit.
    """
    check_unit(name, unit)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a number, not {shown(value)}") from None
    if unit == _PER_SECOND:
        if number <= 0:
            raise UsageError(f"{name} must be above 0 per second, not {shown(value)}")
        return 1 / number
    return number * _table(name)[unit]


def _table(name: str) -> dict[str, float]:
    if name in ("mfu", "metric_value"):
        return _SHARES
    parts = name.split("_")
    if "per" in parts and parts[-1] == "second":
        return {}
    return next((_QUANTITIES[part] for part in parts if part in _QUANTITIES), {})
