"""The tables of a store as this version of sizeup reads and writes them.

What is on disk is made by `migrations`, which may not look here: a migration is history and stays as it is
when a figure is added. A test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from profiler.measurement import FIGURES

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

FIGURE_TYPES: dict[type, type[TypeEngine[Any]]] = {
    int: BigInteger,
    float: Double,
    bool: Boolean,
    str: Text,
}

# Columns that are keys have a length because some databases cannot index a text without one.
NAME = String(255)

metadata = MetaData()

migrations = Table(
    "sizeup_migrations",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("applied_at", Text, nullable=False),
)

specs = Table(
    "specs",
    metadata,
    Column("key", NAME, primary_key=True),
    Column("spec", Text, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("key", NAME, primary_key=True),
    Column("facts", Text, nullable=False),
)

measurements = Table(
    "measurements",
    metadata,
    # The order of insertion. SQLite counts by itself only in a column that is an INTEGER.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", NAME, nullable=False, unique=True),
    Column("spec_key", NAME, ForeignKey("specs.key"), nullable=False, index=True),
    Column("environment_key", NAME, ForeignKey("environments.key"), nullable=False, index=True),
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
    # UTC as text of one width, so that it sorts by time in every database.
    Column("measured_at", String(32), nullable=False, index=True),
    *(Column(figure.name, FIGURE_TYPES[figure.kind]) for figure in FIGURES.values()),
)
