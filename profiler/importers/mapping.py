"""`ColumnMapping`: which column of a foreign table is which field, from options or a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from profiler.errors import UsageError
from profiler.importers.fields import check_field, read_value
from profiler.importers.units import check_unit
from profiler.spec.validation import shown
from profiler.spec.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_KEYS = ("columns", "set")
_TARGET_KEYS = ("field", "unit", "values")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a cell becomes."""

    field: str
    unit: str | None = None
    """What the column's numbers are in; None for the unit in the field's name."""
    values: Mapping[str, Any] | None = None
    """What cells mean, if not what they say; a cell that is not among them is refused."""

    def read(self, column: str, cell: str) -> Any:
        """Return the value of a cell; None where it is absent.

        Raises:
            UsageError: If it cannot be a value of the field.
        """
        value: Any = cell.strip()
        if self.values is not None and value in self.values:
            value = self.values[value]
        elif self.values is not None and value:
            known = ", ".join(self.values)
            raise UsageError(f"column {column} is {shown(value)}; the mapping knows {known}")
        try:
            return read_value(self.field, value, self.unit)
        except UsageError as error:
            raise UsageError(f"column {column}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """How a table is read."""

    columns: Mapping[str, tuple[Target, ...]]
    stated: Mapping[str, Any]
    """What holds for every row and no column says."""

    @classmethod
    def of(cls, pairs: Iterable[str], statements: Iterable[str] = (), *, file: Path | None = None) -> Self:
        """Read a mapping from a file and from options, which add to it.

        Args:
            pairs: `COLUMN=FIELD` or `COLUMN=FIELD:UNIT`.
            statements: `FIELD=VALUE`.
            file: A YAML file with `columns` and `set`.

        Raises:
            UsageError: If one of them is not well formed, or a field is said twice.
        """
        columns: dict[str, list[Target]] = {}
        stated: dict[str, Any] = {}
        if file is not None:
            columns, stated = _read(file)
        for pair in pairs:
            column, target = _pair(pair)
            columns.setdefault(column, []).append(target)
        stated |= read_statements(statements)
        _refuse_twice(columns, stated)
        return cls(
            columns=MappingProxyType({column: tuple(targets) for column, targets in columns.items()}),
            stated=MappingProxyType(stated),
        )

    @property
    def fields(self) -> frozenset[str]:
        """Every field that it says."""
        return frozenset(
            [*self.stated, *(target.field for targets in self.columns.values() for target in targets)]
        )

    def values(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of a row, under the names of fields.

        Raises:
            UsageError: If a cell cannot be a value of its field.
        """
        values = dict(self.stated)
        for column, targets in self.columns.items():
            for target in targets:
                values[target.field] = target.read(column, cells[column])
        return values


def read_statements(statements: Iterable[str]) -> dict[str, Any]:
    """Read `FIELD=VALUE` options.

    Raises:
        UsageError: If one is not of this form, or no value of its field.
    """
    stated: dict[str, Any] = {}
    for statement in statements:
        name, equals, text = statement.partition("=")
        if not equals or not text:
            raise UsageError(f"--set must be FIELD=VALUE, such as device=cuda, not {shown(statement)}")
        stated[check_field(name)] = read_value(name, text)
    return stated


def _pair(pair: str) -> tuple[str, Target]:
    column, equals, target = pair.rpartition("=")
    if not equals or not column or not target:
        raise UsageError(f"--map must be COLUMN=FIELD or COLUMN=FIELD:UNIT, not {shown(pair)}")
    field, _, unit = target.partition(":")
    return column, _target({"field": field, **({"unit": unit} if unit else {})})


def _read(file: Path) -> tuple[dict[str, list[Target]], dict[str, Any]]:
    content = read_yaml(file)
    try:
        if strange := sorted(str(key) for key in set(content) - set(_KEYS)):
            raise UsageError(f"unknown key {strange[0]!r}; known: {', '.join(_KEYS)}")
        columns = _mapping(content.get("columns") or {}, "columns")
        stated = _mapping(content.get("set") or {}, "set")
        return (
            {str(column): [_target(one) for one in _listed(target)] for column, target in columns.items()},
            {check_field(str(name)): read_value(str(name), value) for name, value in stated.items()},
        )
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def _listed(target: Any) -> list[Any]:
    return target if isinstance(target, list) else [target]


def _target(given: Any) -> Target:
    entry = {"field": given} if isinstance(given, str) else _mapping(given, "a column")
    if strange := sorted(str(key) for key in set(entry) - set(_TARGET_KEYS)):
        raise UsageError(f"unknown key {strange[0]!r} of a column; known: {', '.join(_TARGET_KEYS)}")
    if not isinstance(field := entry.get("field"), str):
        raise UsageError(f"a column needs the name of its field, not {shown(given)}")
    check_field(field)
    unit, values = entry.get("unit"), entry.get("values")
    return Target(
        field=field,
        unit=None if unit is None else check_unit(field, str(unit)),
        values=None
        if values is None
        else MappingProxyType(
            {_cell_text(cell): value for cell, value in _mapping(values, "values").items()}
        ),
    )


def _cell_text(key: Any) -> str:
    if isinstance(key, bool):
        raise UsageError(f"values: write {str(key)!r} in quotes, as the cell has it")
    return "" if key is None else str(key)


def _mapping(value: Any, place: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{place} must be a mapping, not {shown(value)}")
    return value


def _refuse_twice(columns: Mapping[str, list[Target]], stated: Mapping[str, Any]) -> None:
    seen: dict[str, str] = dict.fromkeys(stated, "set")
    for column, targets in columns.items():
        for target in targets:
            if (other := seen.get(target.field)) is not None:
                raise UsageError(f"{target.field} is said by {other} and by column {column}; say it once")
            seen[target.field] = f"column {column}"
