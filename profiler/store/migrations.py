"""How the tables on disk came to be what they are: named steps, applied in order, each once.

To change the tables, append a function to `MIGRATIONS` (its name is what the store remembers) and never edit
an older one. A new figure needs one line: `add_columns(connection, "measurements", Column(NAME, TYPE))`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import CreateColumn

from profiler.errors import StoreError
from profiler.store import schema
from profiler.store.sqlite_file import APPLICATION_ID

Migration = Callable[[Connection], None]


def initial_tables(connection: Connection) -> None:
    """Make the tables of the first store: specs, environments and measurements."""
    tables = MetaData()
    name = String(255)
    Table("specs", tables, Column("key", name, primary_key=True), Column("spec", Text, nullable=False))
    Table(
        "environments", tables, Column("key", name, primary_key=True), Column("facts", Text, nullable=False)
    )
    whole = (
        "peak_allocated_bytes", "peak_reserved_bytes", "peak_process_bytes", "context_bytes",
        "resident_bytes", "warmup_peak_allocated_bytes", "warmup_peak_reserved_bytes",
        "warmup_peak_process_bytes",
        "load_peak_allocated_bytes", "forward_peak_allocated_bytes", "backward_peak_allocated_bytes",
        "optimizer_peak_allocated_bytes", "evaluation_peak_allocated_bytes", "save_peak_allocated_bytes",
        "load_peak_reserved_bytes", "forward_peak_reserved_bytes", "backward_peak_reserved_bytes",
        "optimizer_peak_reserved_bytes", "evaluation_peak_reserved_bytes", "save_peak_reserved_bytes",
        "alloc_retries", "oom_requested_bytes", "oom_allocated_bytes", "oom_reserved_bytes", "steps_timed",
        "warmup_steps", "flops_per_step", "trainable_parameters", "total_parameters", "metric_n",
    )  # fmt: skip
    real = (
        "step_seconds_median", "step_seconds_p05", "step_seconds_p95", "step_seconds_ci95_low",
        "step_seconds_ci95_high", "host_seconds_median", "tokens_per_second", "tokens_per_second_nonpad",
        "samples_per_second", "mfu", "power_watts_mean", "energy_joules_per_step", "sm_clock_mhz_median",
        "temperature_celsius_max", "metric_value", "trial_seconds", "start_seconds", "load_seconds",
    )  # fmt: skip
    Table(
        "measurements",
        tables,
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("id", name, nullable=False, unique=True),
        Column("spec_key", name, ForeignKey("specs.key"), nullable=False, index=True),
        Column("environment_key", name, ForeignKey("environments.key"), nullable=False, index=True),
        Column("device", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("reason", Text),
        Column("phase", Text),
        Column("message", Text),
        Column("repeat", Integer, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("sweep", Text),
        Column("protocol", Text, nullable=False),
        Column("step_seconds", Text, nullable=False),
        Column("measured_at", String(32), nullable=False, index=True),
        *(Column(figure, BigInteger) for figure in whole),
        *(Column(figure, Double) for figure in real),
        *(Column(figure, Boolean) for figure in ("warmup_stable", "throttled", "device_busy")),
        Column("metric_name", Text),
    )
    tables.create_all(connection, checkfirst=False)


MIGRATIONS: tuple[Migration, ...] = (initial_tables,)


def add_columns(connection: Connection, table: str, *columns: Column[object]) -> None:
    """Add nullable columns to a table; the rows already there have no value in them.

    Raises:
        ValueError: If a column has to have a value, which the rows already there could not give.
    """
    quote = connection.dialect.identifier_preparer.quote
    for column in columns:
        if not column.nullable or column.primary_key:
            raise ValueError(f"the added column {column.name} must be nullable")
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {quote(table)} ADD COLUMN {definition}")


def applied(connection: Connection, store: str) -> set[str]:
    """Return the names of the migrations a store has had; none where there is no store yet.

    Raises:
        StoreError: If the database holds other tables instead; `store` says which.
    """
    tables = inspect(connection).get_table_names()
    if schema.migrations.name in tables:
        return set(connection.scalars(select(schema.migrations.c.name)))
    if tables:
        listed = ", ".join(sorted(tables)[:3])
        raise StoreError(f"{store} is not a sizeup store: it holds other tables ({listed})")
    return set()


def pending(connection: Connection, store: str) -> list[Migration]:
    """Return the migrations a store still needs.

    Raises:
        StoreError: As `applied`, or if a newer sizeup wrote it.
    """
    names = applied(connection, store)
    if newer := names - {migration.__name__ for migration in MIGRATIONS}:
        listed = ", ".join(sorted(newer))
        raise StoreError(f"{store} was written by a newer sizeup (it has {listed}); update sizeup to use it")
    return [migration for migration in MIGRATIONS if migration.__name__ not in names]


def migrate(connection: Connection, store: str) -> None:
    """Bring the tables up to date, inside the caller's write transaction: all of it happens, or nothing.

    Raises:
        StoreError: As `pending`.
    """
    todo = pending(connection, store)  # asked again: another process may have been faster
    if todo and todo[0] is MIGRATIONS[0]:
        schema.migrations.create(connection)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    for migration in todo:
        migration(connection)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        connection.execute(insert(schema.migrations).values(name=migration.__name__, applied_at=now))
