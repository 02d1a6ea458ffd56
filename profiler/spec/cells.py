"""Cells of a table (CSV, Parquet, pandas, a database) turned back into the values they were."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def is_absent(value: Any) -> bool:
    """Whether a cell says that there is no value: None, NaN, or pandas' NA and NaT."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True  # only pandas' NA refuses to be true or false
    except ValueError:
        return False  # an array


def base_types(annotation: Any) -> frozenset[type]:
    """Return the plain types that a field's annotation allows: `Literal["auto"] | bool` is `{str, bool}`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return base_types(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return frozenset().union(*(base_types(member) for member in get_args(annotation)))
    if origin is Literal:
        return frozenset(type(value) for value in get_args(annotation))
    return frozenset({origin or annotation})


def read_cell(value: Any, kinds: frozenset[type]) -> Any:
    """Return the value of a cell whose field allows these types; None for an empty cell.

    A cell that fits none of them comes back as it is, for the field's own validation to refuse.

    Raises:
        ValueError: If a mapping or a list is not JSON.
    """
    if isinstance(value, str):
        return _read_text(value, kinds)
    if is_absent(value):
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's scalars and arrays
    if int in kinds and isinstance(value, float) and value.is_integer():
        return int(value)  # a column of whole numbers with gaps is one of floats
    if bool in kinds and int not in kinds and value in (0, 1):
        return bool(value)
    return value


def _read_text(text: str, kinds: frozenset[type]) -> Any:
    if not text:
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kinds & {Mapping, tuple}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{text[:80]!r} is not JSON") from None
    if kinds & {int, float}:
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if int in kinds and number.is_integer() else number
    return text
