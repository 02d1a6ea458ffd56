"""Fitted models as plain data: JSON and arrays, without pickle.

A class that may be stored is a dataclass marked with `stored`; nothing else is ever built from a file.
"""

from __future__ import annotations

import enum
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from profiler.errors import SizeupError

_CLASSES: dict[str, type] = {}
_Class = TypeVar("_Class", bound=type)

_TYPE, _ARRAY, _TUPLE, _MAPPING, _ENUM = "$type", "$array", "$tuple", "$mapping", "$enum"


def stored(cls: _Class) -> _Class:
    """Mark a dataclass, or an enumeration of texts, as one that files may hold."""
    _CLASSES[cls.__name__] = cls
    return cls


def to_state(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return a JSON value that stands for a fitted model; its arrays are appended to `arrays`."""
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, enum.Enum):
            return value
        case enum.Enum():
            return {_ENUM: type(value).__name__, "value": value.value}
        case np.ndarray():
            arrays.append(value)
            return {_ARRAY: len(arrays) - 1}
        case tuple():
            return {_TUPLE: [to_state(item, arrays) for item in value]}
        case dict():
            return {
                _MAPPING: [[to_state(key, arrays), to_state(item, arrays)] for key, item in value.items()]
            }
    if not is_dataclass(value) or type(value).__name__ not in _CLASSES:
        raise TypeError(f"{type(value).__name__} cannot be stored")
    parts = {field.name: to_state(getattr(value, field.name), arrays) for field in fields(value)}
    return {_TYPE: type(value).__name__, **parts}


def from_state(state: Any, arrays: list[np.ndarray]) -> Any:
    """Rebuild what `to_state` took down.

    Raises:
        SizeupError: If it names a class that this version does not have.
    """
    if not isinstance(state, dict):
        return state
    if _ARRAY in state:
        return arrays[state[_ARRAY]]
    if _TUPLE in state:
        return tuple(from_state(item, arrays) for item in state[_TUPLE])
    if _MAPPING in state:
        return {from_state(key, arrays): from_state(item, arrays) for key, item in state[_MAPPING]}
    name = state.get(_ENUM) or state.get(_TYPE)
    cls = _CLASSES.get(str(name))
    if cls is None:
        raise SizeupError(f"the learned model holds a {name}, which this version of sizeup does not know")
    if _ENUM in state:
        return cls(state["value"])
    parts = {key: from_state(item, arrays) for key, item in state.items() if key != _TYPE}
    try:
        return cls(**parts)
    except TypeError:
        raise SizeupError(f"this version of sizeup has another {name}: learn again") from None
