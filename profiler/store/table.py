"""Measurements as one flat table: a row each, a column for every setting, fact and figure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from profiler.measurement import FIGURES
from profiler.spec import TrialSpec
from profiler.spec.cells import base_types
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    import pandas as pd

    from profiler.measurement import Environment
    from profiler.store.selection import Selected

_RESULT_COLUMNS: dict[str, type] = {
    "outcome": str,
    "reason": str,
    "phase": str,
    "message": str,
    "device": str,
    "origin": str,
    "repeat": int,
    "attempt": int,
    "sweep": str,
    "protocol": str,
    "measured_at": datetime,
    "environment_key": str,
}
_WHOLE_RANGE = range(-(2**63), 2**63)


def _kind_of_field(name: str) -> type:
    kinds = base_types(TrialSpec.model_fields[name].annotation) - {type(None)}
    # What allows several types, or a mapping or list, is a column of text.
    return next(iter(kinds)) if len(kinds) == 1 and kinds <= {int, float, bool} else str


_BEFORE_FACTS: dict[str, type] = {
    "id": str,
    "spec_key": str,
    **{name: _kind_of_field(name) for name in TrialSpec.model_fields},
    **_RESULT_COLUMNS,
}
_AFTER_FACTS: dict[str, type] = {figure.name: figure.kind for figure in FIGURES.values()}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that all have the same columns; a cell is a number, a boolean, a text or None where absent.

    Mappings and lists (`method_options`, `lengths`) are JSON text, as every tabular format needs it and
    `TrialSpec.from_row` reads it. `measured_at` is ISO 8601 text in UTC.
    """

    columns: Mapping[str, type]
    """Names, in order, and what a cell is when it is not absent: int, float, bool, str or datetime."""
    cells: tuple[tuple[Any, ...], ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.cells]

    def where(self, keeps: Callable[[dict[str, Any]], bool]) -> Table:
        """Return the table of those rows that `keeps` says yes to; the columns stay."""
        kept = (row for row in self.cells if keeps(dict(zip(self.columns, row, strict=True))))
        return Table(columns=self.columns, cells=tuple(kept))

    def frame(self) -> pd.DataFrame:
        """Return a pandas frame whose columns are nullable: what is absent is NA, never 0."""
        import pandas as pd

        by_column = zip(*self.cells, strict=True) if self.cells else [()] * len(self.columns)
        series = {
            name: _series(values, kind)
            for (name, kind), values in zip(self.columns.items(), by_column, strict=True)
        }
        return pd.DataFrame(series)


def make_table(selected: Iterable[Selected]) -> Table:
    """Build the table of some measurements, in the order they come in.

    The environment's facts are columns under their own names; a fact that is called as another column is gets
    `environment_` before its name.
    """
    spec_cells: dict[str, tuple[Any, ...]] = {}
    environments: dict[str, Environment] = {}
    picked = []
    for row, spec, environment in selected:
        spec_key, environment_key = row["spec_key"], row["environment_key"]
        if spec_key not in spec_cells:
            spec_cells[spec_key] = tuple(spec.to_row().values())
        environments[environment_key] = environment
        picked.append((row["id"], spec_key, environment_key, _pick_result(row), _pick_figures(row)))

    facts = sorted({name for environment in environments.values() for name in environment.facts})
    fact_cells = {
        key: tuple(_cell(environment.facts.get(name)) for name in facts)
        for key, environment in environments.items()
    }
    fact_kinds = (_kind_of_cells(column) for column in zip(*fact_cells.values(), strict=True))
    columns = {
        **_BEFORE_FACTS,
        **dict(zip(_fact_columns(facts), fact_kinds, strict=True)),
        **_AFTER_FACTS,
    }
    cells = tuple(
        (row_id, spec_key, *spec_cells[spec_key], *result, *fact_cells[environment_key], *figures)
        for row_id, spec_key, environment_key, result, figures in picked
    )
    return Table(columns=columns, cells=cells)


_pick_result = operator.itemgetter(*_RESULT_COLUMNS)
_pick_figures = operator.itemgetter(*_AFTER_FACTS)


def _fact_columns(facts: Collection[str]) -> list[str]:
    taken = {*_BEFORE_FACTS, *_AFTER_FACTS}
    columns = []
    for name in facts:
        column = name
        while column in taken or (column != name and column in facts):
            column = f"environment_{column}"
        taken.add(column)
        columns.append(column)
    return columns


def _cell(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, Mapping | tuple) else value


def _kind_of_cells(cells: Iterable[Any]) -> type:
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {int, float}:
        return float
    return next(iter(kinds)) if len(kinds) == 1 else str


def _series(values: tuple[Any, ...], kind: type) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    if kind is datetime:
        naive = [value.removesuffix("+00:00") for value in values]
        moments = pd.DatetimeIndex(np.array(naive, dtype="datetime64[us]")).tz_localize("UTC")
        return pd.Series(moments)
    if kind is int and any(value is not None and value not in _WHOLE_RANGE for value in values):
        kind = str  # a number that no column of numbers holds exactly
    if kind is str:
        values = tuple(
            value if value is None or isinstance(value, str) else canonical_json(value) for value in values
        )
    dtype = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}[kind]
    return pd.Series(list(values), dtype=dtype)
