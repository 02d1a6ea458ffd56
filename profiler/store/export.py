"""Tables as files: CSV, JSON and Parquet. A file is there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING

from profiler.errors import StoreError, UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from profiler.store.table import Table

# Raised when a column of the table goes away or changes its meaning; columns that are added leave it.
SCHEMA_VERSION = 1


def export(table: Table, path: str | Path, *, format: str | None = None, overwrite: bool = False) -> None:
    """Write a table to a file.

    Args:
        table: What to write.
        path: The file; it appears only when it is complete.
        format: One of `FORMATS`; by default what the file's name ends in.
        overwrite: Whether a file that is already there may be replaced.

    Raises:
        UsageError: If there is no such format, or neither a format nor an ending that names one.
        StoreError: If the file is already there, is not a file, or cannot be written.
    """
    path = Path(path).expanduser()
    write = _writer(path, format)
    if path.exists() and not path.is_file():
        raise StoreError(f"cannot export to {path}: it is not a file")
    if path.exists() and not overwrite:
        raise StoreError(f"{path} is already there; choose another name, or allow it to be overwritten")
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("xb") as file:
            write(table, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _writer(path: Path, format: str | None) -> Callable[[Table, IO[bytes]], None]:
    if format is None:
        format = path.suffix.removeprefix(".").lower()
        if not format:
            raise UsageError(f"{path} has no ending that names a format; known: {', '.join(FORMATS)}")
    if format not in FORMATS:
        raise unknown("format of an export", format, FORMATS)
    return FORMATS[format]


def _write_csv(table: Table, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    # Lines end as RFC 4180 has it. With "\n" alone, Python 3.11 would not quote a message that holds "\r".
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table.columns)
    for row in table.cells:
        writer.writerow(str(cell).lower() if isinstance(cell, bool) else cell for cell in row)
    text.detach()  # writes what it still holds; the file is closed by who opened it


def _write_json(table: Table, file: IO[bytes]) -> None:
    for number, row in enumerate(table.cells):
        record = {"schema_version": SCHEMA_VERSION, **dict(zip(table.columns, row, strict=True))}
        file.write(b",\n" if number else b"[\n")
        file.write(json.dumps(record, allow_nan=False).encode())
    file.write(b"\n]\n" if table.cells else b"[]\n")


def _write_parquet(table: Table, file: IO[bytes]) -> None:
    import pyarrow
    from pyarrow import parquet

    # The frame has a type for every column, so that one without any value still has the type it always has.
    parquet.write_table(pyarrow.Table.from_pandas(table.frame(), preserve_index=False), file)


FORMATS: dict[str, Callable[[Table, IO[bytes]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}
