"""Connections and transactions of a store, and the one place where a database's errors become sentences."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from profiler.errors import StoreError, first_line
from profiler.store import sqlite_file
from profiler.store.location import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

# Any number will do, as long as every sizeup uses the same.
_POSTGRESQL_LOCK = sqlite_file.APPLICATION_ID


def make_engine(place: Path | URL, *, must_exist: bool) -> tuple[Engine, bool]:
    """Return the engine of a store and whether it can be written; nothing is written yet.

    Raises:
        StoreError: If the file is not a store, or the URL's database is unknown, lacks its driver or does not
            answer.
    """
    if isinstance(place, Path):
        writable = sqlite_file.check_file(place, must_exist=must_exist)
        with _sentences(str(place)):
            connect = sqlite_file.connector(place, writable=writable)
        engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
    else:
        writable = True
        engine = _server_engine(place)
    event.listen(engine, "begin", _begin)
    return engine, writable


@contextmanager
def reading(engine: Engine, name: str) -> Iterator[Connection]:
    """Open one transaction that reads; it sees the store as it was when it began.

    Raises:
        StoreError: If the database reports an error; `name` says which store.
    """
    with _sentences(name), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine, name: str) -> Iterator[Connection]:
    """Open one transaction that writes: no other process writes meanwhile, and it happens whole or not.

    Raises:
        StoreError: If the database reports an error; `name` says which store.
    """
    with _sentences(name), engine.connect() as connection:
        connection = connection.execution_options(sizeup_writes=True)
        with connection.begin():
            yield connection


def keep_log(engine: Engine, name: str) -> None:
    """Switch a SQLite store to its write-ahead log, in which readers and a writer do not wait for each other.

    Raises:
        StoreError: If the store cannot be written.
    """
    if engine.dialect.name != "sqlite":
        return
    patience = time.monotonic() + sqlite_file.BUSY_SECONDS
    with _sentences(name), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        while True:
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # For this one statement SQLite does not wait for other processes by itself.
                if "locked" not in str(error) or time.monotonic() > patience:
                    raise
            time.sleep(0.02)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sizeup_writes", False)
    if connection.dialect.name == "sqlite":
        # A transaction that turns into a writer half way may find that another was faster, and fails at once;
        # one that says so from the start waits its turn.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif connection.dialect.name == "postgresql":
        # As SQLite has it: a reader sees one moment, and there is one writer at a time, so that what a
        # transaction has checked stays true until its end.
        if writes:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{sqlite_file.BUSY_SECONDS:.0f}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _server_engine(url: URL) -> Engine:
    name = display_name(url)
    options: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        options["timeout" if url.get_driver_name() == "pg8000" else "connect_timeout"] = 10
    try:
        engine = create_engine(url, connect_args=options, pool_pre_ping=True)
        if not engine.dialect.is_async:
            with _sentences(name):
                engine.connect().close()
            return engine
    except NoSuchModuleError:
        raise StoreError(
            f"unknown kind of database {url.drivername!r} in the store's URL; use a path for a SQLite file, "
            "or a database of SQLAlchemy's, such as postgresql+psycopg"
        ) from None
    except ImportError as error:
        raise StoreError(
            f"the store's URL needs the Python package {error.name}, which is not installed"
        ) from error
    except (SQLAlchemyError, TypeError, ValueError) as error:  # a driver refuses what the URL says
        raise StoreError(f"cannot use the store's URL {name}: {first_line(error)}") from error
    raise StoreError(
        f"{url.drivername!r} is a driver for asynchronous programs; use another, such as psycopg"
    )


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, UnicodeEncodeError) as error:
        raise StoreError(_sentence(error, name)) from error


def _sentence(error: Exception, name: str) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    said = first_line(cause)
    if isinstance(cause, sqlite3.Error):
        if "locked" in said:
            waited = f"{sqlite_file.BUSY_SECONDS:.0f} s"
            return f"the store {name} is in use: another process kept it locked for {waited}"
        if "readonly" in said:
            return f"the store {name} cannot be written"
        if "malformed" in said or "not a database" in said:
            return f"the store {name} is damaged: {said}"
    if isinstance(error, OperationalError) and error.statement is None:
        return f"cannot reach the store {name}: {said}"
    return f"the store {name}: {said}"
