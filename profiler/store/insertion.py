"""Measurements into the tables: each once, with the spec and environment it refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, Table, insert, select

from profiler.errors import StoreError
from profiler.store import schema
from profiler.store.records import to_json, to_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from profiler.measurement import Measurement


def insert_measurements(connection: Connection, measurements: Sequence[Measurement]) -> int:
    """Insert those measurements that are not there yet, inside the caller's write transaction.

    Args:
        connection: What no other process writes through meanwhile.
        measurements: At most some hundred; databases limit the values of a query.

    Returns:
        How many were inserted.

    Raises:
        StoreError: If another measurement has the id of one of them, or a value does not fit its column.
    """
    records = [_record(measurement) for measurement in measurements]
    known = _stored(connection, schema.measurements, "id", [record["id"] for record in records])
    fresh: list[dict[str, Any]] = []
    specs: dict[str, dict[str, str]] = {}
    environments: dict[str, dict[str, str]] = {}
    for measurement, record in zip(measurements, records, strict=True):
        if (there := known.get(record["id"])) is not None:
            if any(there[name] != value for name, value in record.items()):
                raise StoreError(f"another measurement with the id {record['id']} is already in the store")
            continue
        known[record["id"]] = record
        fresh.append(record)
        spec, environment = measurement.spec, measurement.environment
        if spec.key not in specs:
            specs[spec.key] = {"key": spec.key, "spec": _json(measurement, "spec", spec.canonical)}
        if environment.key not in environments:
            facts = _json(measurement, "environment", environment.facts)
            environments[environment.key] = {"key": environment.key, "facts": facts}
    _insert_missing(connection, schema.specs, specs)
    _insert_missing(connection, schema.environments, environments)
    if fresh:
        connection.execute(insert(schema.measurements), fresh)
    return len(fresh)


def _insert_missing(connection: Connection, table: Table, rows: Mapping[str, dict[str, str]]) -> None:
    there = _stored(connection, table, "key", list(rows))
    if missing := [row for key, row in rows.items() if key not in there]:
        connection.execute(insert(table), missing)


def _stored(
    connection: Connection, table: Table, key: str, keys: list[str]
) -> dict[str, RowMapping | dict[str, Any]]:
    rows = connection.execute(select(table).where(table.c[key].in_(keys))).mappings()
    return {row[key]: row for row in rows}


def _record(measurement: Measurement) -> dict[str, Any]:
    try:
        return to_record(measurement)
    except (ValueError, OverflowError) as error:
        raise StoreError(f"the measurement {measurement.id!a} cannot be stored: {error}") from error


def _json(measurement: Measurement, name: str, value: Mapping[str, Any]) -> str:
    try:
        return to_json(name, value)
    except ValueError as error:
        raise StoreError(f"the measurement {measurement.id!a} cannot be stored: {error}") from error
