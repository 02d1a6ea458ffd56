"""A measurement as a record of the tables, and back, without loss."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from profiler.errors import StoreError
from profiler.measurement import FIGURES, Environment, Measurement, Outcome, Phase, Reason
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from profiler.spec import TrialSpec

_WHOLE_LIMIT = 2**63


def to_record(measurement: Measurement) -> dict[str, Any]:
    """Return the columns of `measurements` for one measurement, all of them; None where absent.

    Raises:
        ValueError: If a value does not fit its column; it would not come back as what it was.
    """
    if measurement.measured_at.tzinfo is None:
        raise ValueError(f"measured_at must say its time zone, not {measurement.measured_at.isoformat()!r}")
    values = {
        "id": measurement.id,
        "spec_key": measurement.spec.key,
        "environment_key": measurement.environment.key,
        "device": measurement.device,
        "origin": measurement.origin,
        "outcome": measurement.outcome.value,
        "reason": measurement.reason and measurement.reason.value,
        "phase": measurement.phase and measurement.phase.value,
        "message": measurement.message,
        "repeat": measurement.repeat,
        "attempt": measurement.attempt,
        "sweep": measurement.sweep,
        "protocol": to_json("protocol", measurement.protocol),
        "step_seconds": to_json("step_seconds", measurement.step_seconds),
        "measured_at": to_utc_text(measurement.measured_at),
        **{name: _figure(name, measurement.figures.get(name)) for name in FIGURES},
    }
    for name, value in values.items():
        _check_size(name, value)
    return values


def to_measurement(record: RowMapping, spec: TrialSpec, environment: Environment) -> Measurement:
    """Rebuild the measurement of a record.

    Raises:
        StoreError: If it holds what this version of sizeup does not know, such as another outcome.
    """
    try:
        return Measurement(
            spec=spec,
            device=record["device"],
            environment=environment,
            outcome=Outcome(record["outcome"]),
            origin=record["origin"],
            reason=None if record["reason"] is None else Reason(record["reason"]),
            phase=None if record["phase"] is None else Phase(record["phase"]),
            message=record["message"],
            repeat=record["repeat"],
            attempt=record["attempt"],
            sweep=record["sweep"],
            protocol=json.loads(record["protocol"]),
            figures={name: value for name in FIGURES if (value := record[name]) is not None},
            step_seconds=tuple(json.loads(record["step_seconds"])),
            measured_at=datetime.fromisoformat(record["measured_at"]),
            id=record["id"],
        )
    except ValueError as error:
        raise StoreError(
            f"this version of sizeup cannot read the stored measurement {record['id']}: {error}"
        ) from error


def to_json(name: str, value: Any) -> str:
    """Return the canonical JSON of a value.

    Raises:
        ValueError: If it is not a JSON value, or holds half a character, which no file format takes.
    """
    text = canonical_json(value)
    if "\\ud" in text:  # may be one half, or both halves of an emoji
        _check_text(name, json.dumps(json.loads(text), ensure_ascii=False))
    return text


def to_utc_text(moment: datetime) -> str:
    """Return an aware moment as text that sorts by time: `2026-01-31T12:00:00.000000+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _figure(name: str, value: Any) -> Any:
    kind = FIGURES[name].kind
    if value is None:
        return None
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
        raise ValueError(f"{name} must be {wanted}, not {value!r}")
    return kind(value)


def _check_size(name: str, value: Any) -> None:
    if isinstance(value, int) and not -_WHOLE_LIMIT <= value < _WHOLE_LIMIT:
        raise ValueError(f"{name} must be below 2^63, not {value}")
    if isinstance(value, str):
        _check_text(name, value)


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds {error.object[error.start]!a}, which is not a character") from None
