"""The file of a SQLite store: what may be opened, in which way, and its connections.

A file that is refused is never opened by SQLite in a way that could write, lock or leave files beside it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from profiler.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Written into the file's header with the first tables ("size" in ASCII), where it can be read without SQLite.
APPLICATION_ID = 0x73697A65

# How long a write waits for another process's. Writes take milliseconds, a large merge some seconds.
BUSY_SECONDS = 60.0

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100


def check_file(path: Path, *, must_exist: bool) -> bool:
    """Refuse what is not a store or a place for a new one, and say whether it can be written.

    Raises:
        StoreError: If it is a folder, something else than a store, not readable, or missing and `must_exist`.
    """
    try:
        if path.is_dir():
            raise StoreError(f"{path} is a folder; a store is a file, such as {path / 'measurements.db'}")
        if not path.exists():
            if must_exist:
                raise StoreError(f"there is no store at {path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _writable(path.parent):
                raise StoreError(f"cannot make a store in the folder {path.parent}: it cannot be written")
            return True
        if not path.is_file():
            raise StoreError(f"{path} is not a file")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"cannot make a store at {path}: a part of that path is a file") from None
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {(error.strerror or str(error)).lower()}") from error
    # SQLite makes files beside the store while it writes.
    writable = _writable(path) and _writable(path.parent)
    if not header:
        if not writable:
            raise StoreError(f"{path} is empty and cannot be written, so no store can be made of it")
        return True
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreError(f"{path} is not a store: it is not a SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID and not _has_migrations(path):
        raise StoreError(f"{path} is a SQLite database of something else, not a sizeup store")
    return writable


def connector(path: Path, *, writable: bool) -> Callable[[], sqlite3.Connection]:
    """Return what opens a connection to a checked file.

    Raises:
        StoreError: If it cannot be written, and not be read without writing either.
        sqlite3.Error: If it cannot be read for another reason, such as damage.
    """
    if writable:
        return lambda: _connect(path, "mode=rwc")
    try:
        with closing(_connect(path, "mode=ro")) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        # In WAL mode even a reader needs the files beside the store, and here it cannot make them. Without a
        # log of writes to be applied, and with nobody at work on it, the file alone is all there is.
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size > 0:
            raise StoreError(
                f"the store {path} has unfinished writes in {log.name} and cannot be written here; copy both "
                "files to a folder that can be written"
            ) from None
        return lambda: _connect(path, "mode=ro&immutable=1")
    return lambda: _connect(path, "mode=ro")


def bytes_on_disk(path: Path) -> int:
    """Return the size of a store in bytes, with the log of writes that are not in the file yet."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions begin where `engine` says so, tables included
        check_same_thread=False,  # the pool hands a connection to one thread at a time
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # A row may have cost an hour of a GPU, and a trial can take the whole machine down with it: FULL makes
    # a row outlive that too, for milliseconds per row. (NORMAL would survive a killed process, not a reboot.)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _has_migrations(path: Path) -> bool:
    """Whether a database without our mark is a store all the same: a dump that was read back loses it."""
    try:
        # `immutable` reads the file as it is: no lock, no recovery, no file beside it.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            query = "SELECT 1 FROM sqlite_schema WHERE name = 'sizeup_migrations'"
            return connection.execute(query).fetchone() is not None
    except sqlite3.Error:
        return False
