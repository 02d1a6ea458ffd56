"""The one vocabulary of output: rows as a table, JSON, CSV or Markdown.

JSON and CSV hold the raw values under the columns' names. Tables and Markdown are for people: units come
from the names (`peak_reserved_bytes` is shown in GiB or MiB) and go into the header, absent values are `–`.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from profiler.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SCHEMA_VERSION = 1
"""Of the JSON that is printed; raised when a key goes away or changes its meaning."""

ABSENT = "–"
_MIB, _GIB = 2**20, 2**30
_GAP = 3
"""Characters between two columns of a table."""
_NARROW_TEXT = 12
_NO_LIMIT = 100_000

# Parts of names that are units, and how a header writes them.
_UNITS = {
    "bytes": "B", "seconds": "s", "watts": "W", "joules": "J", "mhz": "MHz", "celsius": "°C", "gib": "GiB",
    "mib": "MiB", "gb_s": "GB/s", "tflops": "TFLOPS", "tops": "TOPS", "tdp_w": "W",
}  # fmt: skip
_STYLES = {"ok": "green", "oom": "yellow", "warn": "yellow", "failed": "red", "timeout": "red"}

Row = Mapping[str, Any]


def print_rows(
    rows: Sequence[Row], columns: Sequence[str], *, format: str = "table", stream: IO[str] | None = None
) -> None:
    """Write rows.

    Args:
        rows: What to write; a key that is missing is an absent value.
        columns: Which keys, in order.
        format: One of `FORMATS`.
        stream: Where to; stdout by default.

    Raises:
        UsageError: If there is no such format.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    FORMATS[format](rows, columns, stream or sys.stdout)


def print_object(value: Row, *, format: str = "table", stream: IO[str] | None = None) -> None:
    """Write one object: JSON as an object instead of a list; as a table, a line per key.

    Raises:
        UsageError: If there is no such format.
    """
    stream = stream or sys.stdout
    if format == "json":
        _write_json_text({"schema_version": SCHEMA_VERSION, **value}, stream)
    elif format == "csv":
        print_rows([value], list(value), format=format, stream=stream)
    else:
        lines = []
        for name, item in value.items():
            header, (cell,) = human_column(name, [item])
            lines.append({"": header, "value": cell})
        print_rows(lines, ["", "value"], format=format, stream=stream)


def human_column(name: str, values: Sequence[Any]) -> tuple[str, list[str]]:
    """Return the header of a column and its cells as people read them.

    A column of bytes is in GiB if any value reaches one, else in MiB. Numbers have four significant digits,
    whole numbers all of theirs.
    """
    title, unit = _split_unit(name)
    if unit == "B":
        is_large = any(value >= _GIB for value in values if value is not None)
        unit, divisor, digits = ("GiB", _GIB, 3) if is_large else ("MiB", _MIB, 1)
        cells = [ABSENT if value is None else f"{value / divisor:,.{digits}f}" for value in values]
    else:
        cells = [_human(value) for value in values]
    return (f"{title} ({unit})" if unit else title), cells


def _split_unit(name: str) -> tuple[str, str | None]:
    """Split `step_seconds_median` into `step median` and `s`; rates, such as `per_second`, have no unit."""
    padded = f"_{name}_"
    for part, unit in _UNITS.items():
        if f"_{part}_" in padded:
            rest = "tdp" if part == "tdp_w" else padded.replace(f"_{part}_", "_", 1)
            return rest.strip("_").replace("_", " "), unit
    return name.replace("_", " "), None


def _human(value: Any) -> str:
    match value:
        case None | "":
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        case Mapping():
            return _one_line(json.dumps(dict(value)))
        case str():
            return _one_line(value)
        case Sequence():
            return _one_line(", ".join(str(item) for item in value))
    return _one_line(str(value))


def _one_line(text: str) -> str:
    """Return text without what would break a line or steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text).strip() or ABSENT


def _is_numeric(values: Collection[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)


def _write_table(rows: Sequence[Row], columns: Sequence[str], stream: IO[str]) -> None:
    if not rows:
        return  # a head without lines says nothing
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns_read = [human_column(name, [row.get(name) for row in rows]) for name in columns]
    numeric = [_is_numeric([row.get(name) for row in rows]) for name in columns]
    narrowest = [
        _narrowest(header, cells, is_numeric=is_numeric)
        for (header, cells), is_numeric in zip(columns_read, numeric, strict=True)
    ]
    console = Console(file=stream, highlight=False)
    # Without a terminal there is no width to fit into: whoever reads the pipe wants whole cells. Nor is there
    # where numbers would be broken; the terminal then breaks the lines.
    fits = stream.isatty() and sum(narrowest) + _GAP * (len(columns) - 1) <= console.width
    if not fits:
        console = Console(file=stream, highlight=False, width=_NO_LIMIT)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for (header, _), is_numeric, width in zip(columns_read, numeric, narrowest, strict=True):
        table.add_column(
            Text(header), justify="right" if is_numeric else "left", min_width=width, overflow="fold"
        )
    for line in zip(*(cells for _, cells in columns_read), strict=True):
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    console.print(table)


def _narrowest(header: str, cells: Sequence[str], *, is_numeric: bool) -> int:
    """Return the width below which a column cannot be read: numbers and a header's words stay whole."""
    longest = max(len(cell) for cell in cells)
    words = [len(word) for word in header.split()]
    return max([longest if is_numeric else min(longest, _NARROW_TEXT), *words])


def _write_markdown(rows: Sequence[Row], columns: Sequence[str], stream: IO[str]) -> None:
    headers, rules, cells_by_column = [], [], []
    for name in columns:
        values = [row.get(name) for row in rows]
        header, cells = human_column(name, values)
        headers.append(header)
        rules.append("---:" if _is_numeric(values) else "---")
        cells_by_column.append([cell.replace("|", "\\|") for cell in cells])
    for line in (headers, rules, *zip(*cells_by_column, strict=True)):
        stream.write(f"| {' | '.join(line)} |\n")


def _write_json(rows: Sequence[Row], columns: Sequence[str], stream: IO[str]) -> None:
    _write_json_text(
        [{"schema_version": SCHEMA_VERSION, **{name: row.get(name) for name in columns}} for row in rows],
        stream,
    )


def _write_json_text(value: Any, stream: IO[str]) -> None:
    stream.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _write_csv(rows: Sequence[Row], columns: Sequence[str], stream: IO[str]) -> None:
    # Lines end as in the files of `profiler.store.export`, which says why.
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_csv_cell(row.get(name)) for name in columns)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value)
    return value


FORMATS: dict[str, Callable[[Sequence[Row], Sequence[str], IO[str]], None]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _write_csv,
    "md": _write_markdown,
}
