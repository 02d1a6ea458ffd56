"""`Store`: where measurements are kept. Rows are added and read, never changed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from sqlalchemy import Column, Connection, Engine, delete, func, select
from sqlalchemy.engine import URL

from profiler.errors import StoreError
from profiler.store import migrations, records, schema, sqlite_file
from profiler.store.engine import keep_log, make_engine, reading, writing
from profiler.store.export import export
from profiler.store.insertion import insert_measurements
from profiler.store.location import display_name, find_store
from profiler.store.prune import condition
from profiler.store.selection import Selection, read
from profiler.store.table import Table, make_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    import pandas as pd

    from profiler.measurement import Measurement, Outcome, Reason

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store holds, all origins together."""

    location: str
    is_writable: bool
    bytes_on_disk: int | None
    """None for a database server."""
    schema: str
    """Name of the last migration."""
    measurements: int
    by_outcome: Mapping[str, int]
    by_origin: Mapping[str, int]
    by_device: Mapping[str, int]
    specs: int
    environments: int
    first_measured_at: datetime | None
    last_measured_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What adding many measurements did."""

    added: int
    already_there: int


class Store:
    """A table of measurements in a SQLite file or a database server.

    Open it with `Store.open`. Methods that read take the keyword arguments of `Selection`; unless told
    otherwise they return only rows of origin `measured`.

    Every method raises `StoreError` if the database reports an error.
    """

    def __init__(self, place: Path | URL, engine: Engine, *, is_writable: bool) -> None:
        self._place = place
        self._engine = engine
        self.is_writable = is_writable
        """Whether rows can be added; a store that cannot be written can still be read."""

    @classmethod
    def open(cls, location: str | Path | None = None, *, must_exist: bool = False) -> Self:
        """Open a store, or make one where there is none.

        Args:
            location: A path or an SQLAlchemy URL; None means `SIZEUP_STORE`, else the user's data folder.
            must_exist: Refuse to make a new store.

        Raises:
            StoreError: If there is something else than a store, one of a newer sizeup, one that cannot be
                reached or read, or none although it must exist. What is refused is left as it was.
        """
        place = find_store(location)
        engine, is_writable = make_engine(place, must_exist=must_exist)
        store = cls(place, engine, is_writable=is_writable)
        try:
            store._prepare(must_exist=must_exist)
        except BaseException:
            store.close()
            raise
        return store

    def _prepare(self, *, must_exist: bool) -> None:
        with self._reading() as connection:
            todo = migrations.pending(connection, self.location)
        if len(todo) == len(migrations.MIGRATIONS) and must_exist and isinstance(self._place, URL):
            raise StoreError(f"there is no store at {self.location}")
        if todo and not self.is_writable:
            raise StoreError(
                f"the store {self.location} was written by an older sizeup and cannot be written here to "
                "bring it up to date; copy it to a folder that can be written"
            )
        if todo:
            with self._writing() as connection:
                migrations.migrate(connection, self.location)
        if self.is_writable:
            keep_log(self._engine, self.location)

    @property
    def location(self) -> str:
        """The file, or the URL without its password."""
        return display_name(self._place)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reading(self) -> AbstractContextManager[Connection]:
        return reading(self._engine, self.location)

    def _writing(self) -> AbstractContextManager[Connection]:
        if not self.is_writable:
            raise StoreError(
                f"the store {self.location} can only be read: it or its folder cannot be written"
            )
        return writing(self._engine, self.location)

    def add(self, measurement: Measurement) -> None:
        """Add one measurement; when this returns, it outlives the process and the machine's power.

        Adding the very same measurement again changes nothing.

        Raises:
            StoreError: If another measurement has its id, a value does not fit its column, or the store
                cannot be written.
        """
        self.add_many([measurement])

    def add_many(self, measurements: Iterable[Measurement]) -> MergeReport:
        """Add measurements in one transaction: all of them, or none if one is refused.

        Raises:
            StoreError: As `add`.
        """
        measurements = iter(measurements)
        given = added = 0
        with self._writing() as connection:
            while batch := list(itertools.islice(measurements, _ROWS_AT_ONCE)):
                given += len(batch)
                added += insert_measurements(connection, batch)
        return MergeReport(added=added, already_there=given - added)

    def measurements(self, **selection: Unpack[Selection]) -> Iterator[Measurement]:
        """Yield measurements by time of measurement, then of insertion, as the store is at the first one.

        Raises:
            StoreError: If a row was written by a version of sizeup that knows more than this one.
        """
        with self._reading() as connection:
            for row, spec, environment in read(connection, **selection):
                yield records.to_measurement(row, spec, environment)

    def table(self, **selection: Unpack[Selection]) -> Table:
        """Return measurements as one flat table, in the order of `measurements`.

        Its columns are the id, every field of `TrialSpec`, how it ended and where it comes from, the facts of
        the environment and all figures.
        """
        with self._reading() as connection:
            return make_table(read(connection, **selection))

    def rows(self, **selection: Unpack[Selection]) -> list[dict[str, Any]]:
        """Return `table` as a dict per row; all have the same keys, and None where a value is absent."""
        return self.table(**selection).rows()

    def frame(self, **selection: Unpack[Selection]) -> pd.DataFrame:
        """Return `table` as a pandas frame with nullable columns: what is absent is NA, never 0."""
        return self.table(**selection).frame()

    def export(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        overwrite: bool = False,
        **selection: Unpack[Selection],
    ) -> int:
        """Write `table` to a CSV, JSON or Parquet file, as `profiler.store.export` does.

        Returns:
            How many rows were written.

        Raises:
            UsageError: If there is no such format.
            StoreError: If the file is the store, is there already, or cannot be written.
        """
        target = Path(path).expanduser()
        if isinstance(self._place, Path) and target.exists() and target.samefile(self._place):
            raise StoreError(f"cannot export to {target}: it is the store itself")
        table = self.table(**selection)
        export(table, target, format=format, overwrite=overwrite)
        return len(table.cells)

    def info(self) -> StoreInfo:
        """Return what the store holds."""
        table = schema.measurements.c
        with self._reading() as connection:
            names = migrations.applied(connection, self.location)
            first, last = connection.execute(
                select(func.min(table.measured_at), func.max(table.measured_at))
            ).one()
            by_outcome = _counts(connection, table.outcome)
            return StoreInfo(
                location=self.location,
                is_writable=self.is_writable,
                bytes_on_disk=sqlite_file.bytes_on_disk(self._place)
                if isinstance(self._place, Path)
                else None,
                schema=[step.__name__ for step in migrations.MIGRATIONS if step.__name__ in names][-1],
                measurements=sum(by_outcome.values()),
                by_outcome=by_outcome,
                by_origin=_counts(connection, table.origin),
                by_device=_counts(connection, table.device),
                specs=connection.scalar(select(func.count()).select_from(schema.specs)) or 0,
                environments=connection.scalar(select(func.count()).select_from(schema.environments)) or 0,
                first_measured_at=first and datetime.fromisoformat(first),
                last_measured_at=last and datetime.fromisoformat(last),
            )

    def merge(self, other: Store) -> MergeReport:
        """Add every measurement of another store, of all origins; doing it again changes nothing.

        Raises:
            StoreError: If the two hold different measurements with the same id; nothing is added then.
        """
        return self.add_many(other.measurements(origins=None))

    def prune(
        self,
        *,
        outcomes: Collection[Outcome] | None = None,
        reasons: Collection[Reason] | None = None,
        origins: Collection[str] | None = None,
        sweep: str | None = None,
        before: datetime | None = None,
        superseded: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Delete the measurements that meet all the given criteria, and specs and environments left over.

        Args:
            outcomes: Those that ended so.
            reasons: Those with these reasons.
            origins: Those that come from there; None means any.
            sweep: Those of this sweep.
            before: Those measured before this moment; it says its time zone.
            superseded: Failures that may pass (`not is_finished`) whose trial was tried again later, on the
                same device, in the same environment, repeat and sweep, and ended for good.
            dry_run: Only count.

        Returns:
            How many were deleted, or would be.

        Raises:
            UsageError: If no criterion is given, or `before` does not say its time zone.
        """
        doomed = condition(
            outcomes=outcomes,
            reasons=reasons,
            origins=origins,
            sweep=sweep,
            before=before,
            superseded=superseded,
        )
        if dry_run:
            with self._reading() as connection:
                return (
                    connection.scalar(select(func.count()).select_from(schema.measurements).where(doomed))
                    or 0
                )
        with self._writing() as connection:
            deleted = connection.execute(delete(schema.measurements).where(doomed)).rowcount
            for table, reference in (
                (schema.specs, schema.measurements.c.spec_key),
                (schema.environments, schema.measurements.c.environment_key),
            ):
                connection.execute(delete(table).where(table.c.key.not_in(select(reference))))
        return deleted


def _counts(connection: Connection, column: Column[str]) -> dict[str, int]:
    query = select(column, func.count()).group_by(column).order_by(func.count().desc(), column)
    return {row[0]: row[1] for row in connection.execute(query)}
