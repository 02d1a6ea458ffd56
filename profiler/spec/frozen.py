"""JSON values that cannot change: mappings and lists as a frozen record keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


def freeze(value: Any) -> Any:
    """Return `value` with every mapping made read-only and every list made a tuple.

    Raises:
        ValueError: If it holds something that JSON cannot (another type, a NaN, a key that is no string).
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not a string")
        return MappingProxyType({key: freeze(item) for key, item in sorted(value.items())})
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return tuple(freeze(item) for item in value)
    raise ValueError(f"{value!r} is not a JSON value")


def thaw(value: Any) -> Any:
    """Undo `freeze`: plain dicts and lists, ready for JSON, YAML or a library's keyword arguments."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


def whole_numbers(value: Any) -> Any:
    """Write numbers without a fraction as integers, so that 16 and 16.0 have one JSON text."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(thaw(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
