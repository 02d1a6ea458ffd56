"""Tables of others in CSV, read by a mapping of their columns."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from profiler.errors import UsageError, unknown
from profiler.importers.fields import build_measurement
from profiler.importers.reading import Reading, RefusedRow, origin_of
from profiler.spec.frozen import canonical_json
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from profiler.importers.mapping import ColumnMapping
    from profiler.measurement import Measurement

_PROTOCOL = {"source": "csv"}


def read_csv(path: Path, mapping: ColumnMapping, *, name: str, delimiter: str = ",") -> Reading:
    """Read a table; each line is an attempt.

    Lines are told apart by their cells; of equal lines, each is an attempt of its own.

    Args:
        path: The file, in UTF-8, with a line of column names.
        mapping: What the columns mean.
        name: What the rows' origin is called.
        delimiter: What separates cells.

    Raises:
        UsageError: If the file cannot be read, or the mapping names a column that is not there.
    """
    origin = origin_of(name)
    changed_at = _changed_at(path)
    measurements: list[Measurement] = []
    refused: list[RefusedRow] = []
    notes: dict[str, None] = {}
    seen = Counter[str]()
    for line, cells in _lines(path, mapping, delimiter):
        try:
            if None in cells or None in cells.values():
                raise UsageError("it has not as many cells as there are columns")
            text = canonical_json(cells)
            seen[text] += 1
            measurement, note = build_measurement(
                mapping.values(cells),
                origin=origin,
                identity=(cells, seen[text]),
                fallback_time=changed_at,
                protocol=_PROTOCOL,
            )
        except UsageError as error:
            refused.append(RefusedRow(row=f"{path.name}:{line}", reason=str(error)))
            continue
        measurements.append(measurement)
        if note is not None:
            notes[note] = None
    if measurements and "measured_at" not in mapping.fields:
        notes[f"no column says measured_at; the time of the file stands in ({changed_at:%Y-%m-%d})"] = None
    return Reading(
        origin=origin, measurements=tuple(measurements), refused=tuple(refused), notes=tuple(notes)
    )


def _changed_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _lines(path: Path, mapping: ColumnMapping, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    if len(delimiter) != 1:
        raise UsageError(f"the delimiter must be one character, not {shown(delimiter)}")
    csv.field_size_limit(sys.maxsize)  # a cell may hold a whole configuration
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            _check_columns(path, mapping, reader.fieldnames or [])
            for cells in reader:
                yield reader.line_num, cells
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a table in UTF-8: {error}") from None


def _check_columns(path: Path, mapping: ColumnMapping, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UsageError(f"{path} has two columns {shown(twice)}")
    for column in mapping.columns:
        if column not in names:
            raise UsageError(f"{path}: {unknown('column', column, names)}")
