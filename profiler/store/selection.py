"""Which rows of a store are meant: the selection that all reading methods take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, Select, select

from profiler.errors import StoreError
from profiler.measurement import Environment
from profiler.spec import TrialSpec
from profiler.store import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Databases limit how many values one query takes; where more keys are asked for, all rows are looked through.
_MOST_KEYS = 10_000
_ROWS_AT_ONCE = 1000


class Selection(TypedDict, total=False):
    """Keyword arguments that select measurements; those left out do not restrict, `origins` excepted."""

    origins: Collection[str] | None
    """Where rows come from; `("measured",)` unless said otherwise, because origins never mix unasked. None
    means all."""
    devices: Collection[str] | None
    """Devices, such as `cuda:0`."""
    spec_keys: Collection[str] | None
    """Keys of trial specs."""
    environment_key: str | None
    """Key of one environment."""
    sweep: str | None
    """Name of one sweep."""


class Selected(NamedTuple):
    """One row, with its spec and environment rebuilt; rows that share them share the objects."""

    row: RowMapping
    spec: TrialSpec
    environment: Environment


def read(
    connection: Connection,
    *,
    origins: Collection[str] | None = ("measured",),
    devices: Collection[str] | None = None,
    spec_keys: Collection[str] | None = None,
    environment_key: str | None = None,
    sweep: str | None = None,
) -> Iterator[Selected]:
    """Yield the rows of a `Selection`, by time of measurement and then of insertion.

    Raises:
        StoreError: If a spec was written by a version of sizeup that knows more settings.
        TypeError: If a text stands where a collection of texts is meant.
    """
    table = schema.measurements.c
    query = (
        select(schema.measurements, schema.specs.c.spec, schema.environments.c.facts)
        .join_from(schema.measurements, schema.specs)
        .join(schema.environments, table.environment_key == schema.environments.c.key)
        .order_by(table.measured_at, table.number)
    )
    for column, values in ((table.origin, origins), (table.device, devices), (table.spec_key, spec_keys)):
        if isinstance(values, str):
            raise TypeError(f"{column.name} is selected by a collection of texts, not by the text {values!r}")
        if values is not None and len(values) <= _MOST_KEYS:
            query = query.where(column.in_(sorted(values)))
    if environment_key is not None:
        query = query.where(table.environment_key == environment_key)
    if sweep is not None:
        query = query.where(table.sweep == sweep)
    wanted = set(spec_keys) if spec_keys is not None and len(spec_keys) > _MOST_KEYS else None
    yield from _rebuilt(connection, query, wanted)


def _rebuilt(connection: Connection, query: Select[Any], wanted: set[str] | None) -> Iterator[Selected]:
    specs: dict[str, TrialSpec] = {}
    environments: dict[str, Environment] = {}
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query).mappings()
    for row in rows:
        spec_key, environment_key = row["spec_key"], row["environment_key"]
        if wanted is not None and spec_key not in wanted:
            continue
        if spec_key not in specs:
            specs[spec_key] = _spec(spec_key, row["spec"])
        if environment_key not in environments:
            environments[environment_key] = Environment(facts=json.loads(row["facts"]))
        yield Selected(row, specs[spec_key], environments[environment_key])


def _spec(key: str, canonical: str) -> TrialSpec:
    try:
        return TrialSpec.from_canonical(canonical)
    except ValidationError:
        raise StoreError(
            f"the store holds a trial (spec {key}) that this version of sizeup cannot read; update sizeup"
        ) from None
