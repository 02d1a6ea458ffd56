"""The names that a foreign value can be given: settings of a trial, figures, facts, and how it ended."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError, unknown
from profiler.importers.reading import row_id
from profiler.importers.units import convert
from profiler.measurement import FIGURES, Environment, Measurement, Outcome, Phase, Reason
from profiler.spec import TrialSpec
from profiler.spec.cells import base_types, read_cell
from profiler.spec.validation import shown
from profiler.sweep.file import TRIAL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTION_PREFIX = "method_options."
FACTS: dict[str, type] = {
    "device_name": str, "device_uuid": str, "driver_version": str, "device_memory_bytes": int,
    "power_limit_watts": float, "allocator_settings": str, "host_cpu": str, "host_cpu_cores": int,
    "host_memory_gib": int, "host_threads": str, "platform": str, "python_version": str,
    "torch_version": str, "transformers_version": str, "peft_version": str, "accelerate_version": str,
    "bitsandbytes_version": str, "cuda_version": str,
}  # fmt: skip
"""Facts of an environment that can be stated, under the names that measuring gives them."""

_ABOUT: dict[str, type] = {
    "device": str, "outcome": str, "reason": str, "phase": str, "message": str, "repeat": int, "sweep": str,
    "measured_at": datetime,
}  # fmt: skip
_UNFINISHED_FIGURES = "peaks and step times"

Values = dict[str, Any]


def known_fields() -> list[str]:
    """Return every name a value can be given, but for single options (`method_options.NAME`)."""
    return [*TRIAL_FIELDS, *_ABOUT, *FACTS, *FIGURES]


def check_field(name: str) -> str:
    """Return a name that a value can be given.

    Raises:
        UsageError: If there is no such name; the nearest is named.
    """
    if name.startswith(OPTION_PREFIX) and len(name) > len(OPTION_PREFIX):
        return name
    if name not in known_fields():
        raise unknown("field", name, known_fields())
    return name


def read_value(name: str, value: Any, unit: str | None = None) -> Any:
    """Return a cell, or a value of YAML, as what its field holds; None for an empty cell.

    Args:
        name: Of `check_field`.
        value: A text or a value of YAML.
        unit: What the number is in, of `profiler.importers.units`; None for the unit in the field's name.

    Raises:
        UsageError: If it is no such value.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    value = value.strip() if isinstance(value, str) else value
    if unit is not None:
        value = convert(name, value, unit)
    if name.startswith(OPTION_PREFIX):
        return _json_or_text(value)
    if name in TRIAL_FIELDS:
        return _setting(name, value)
    kind = _ABOUT.get(name) or FACTS.get(name) or FIGURES[name].kind
    return _of_kind(name, value, kind)


def build_measurement(
    values: Mapping[str, Any],
    *,
    origin: str,
    identity: tuple[Any, ...],
    fallback_time: datetime,
    protocol: Mapping[str, Any],
) -> tuple[Measurement, str | None]:
    """Build a measurement from values under the names of `check_field`.

    Args:
        values: What the source states; None is absent.
        origin: Of `origin_of`.
        identity: What the source tells its rows apart by.
        fallback_time: When it was measured, where the source does not say.
        protocol: How the figures came about.

    Returns:
        The measurement, and a sentence about figures that were left out because the attempt did not finish.

    Raises:
        UsageError: If what is stated is not a trial and its outcome, or there is nothing that was measured.
    """
    given = {name: value for name, value in values.items() if value is not None}
    settings = {name: value for name, value in given.items() if name in TRIAL_FIELDS}
    options = {
        name.removeprefix(OPTION_PREFIX): value
        for name, value in given.items()
        if name.startswith(OPTION_PREFIX)
    }
    if options:
        settings["method_options"] = {**settings.get("method_options", {}), **options}
    if "device" not in given:
        raise UsageError("it does not say device; set it, such as device=cuda")
    outcome, reason = _ending(given)
    figures = {name: value for name, value in given.items() if name in FIGURES}
    note = None
    if outcome is not Outcome.OK:
        finished = {name for name in figures if "peak" in name or name.startswith("step_seconds")}
        if finished:
            note = f"{_UNFINISHED_FIGURES} of attempts that did not finish are left out"
        figures = {name: value for name, value in figures.items() if name not in finished}
    elif not figures:
        raise UsageError("no figure of it was measured")
    return Measurement(
        spec=TrialSpec.parse(settings),
        device=given["device"],
        environment=Environment(facts={name: given[name] for name in FACTS if name in given}),
        outcome=outcome,
        origin=origin,
        reason=reason,
        phase=_member(Phase, "phase", given["phase"]) if "phase" in given else None,
        message=given.get("message"),
        repeat=given.get("repeat", 1),
        sweep=given.get("sweep"),
        protocol=protocol,
        figures=figures,
        measured_at=given.get("measured_at", fallback_time),
        id=row_id(origin, *identity),
    ), note


def _ending(given: Mapping[str, Any]) -> tuple[Outcome, Reason | None]:
    """Return how it ended; the reason follows from the outcome where a source states only that."""
    outcome = _member(Outcome, "outcome", given.get("outcome", "ok"))
    if "reason" in given:
        return outcome, _member(Reason, "reason", given["reason"])
    out_of_memory = Reason.HOST_OOM if given["device"] == "cpu" else Reason.CUDA_OOM
    reasons = {
        Outcome.OK: None,
        Outcome.OOM: out_of_memory,
        Outcome.FAILED: Reason.ERROR,
        Outcome.TIMEOUT: Reason.TIME_LIMIT,
    }
    if outcome not in reasons:
        raise UsageError(f"outcome {outcome.value} needs a reason")
    return outcome, reasons[outcome]


def _member(kind: Any, name: str, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        allowed = ", ".join(member.value for member in kind)
        raise UsageError(f"{name} must be one of {allowed}, not {shown(text)}") from None


def _setting(name: str, value: Any) -> Any:
    kinds = base_types(TrialSpec.model_fields[name].annotation)
    try:
        return read_cell(value, kinds)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _json_or_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"True": True, "False": False}.get(value, value)  # as Python's tables write them


def _of_kind(name: str, value: Any, kind: type) -> Any:
    if kind is datetime:
        return _moment(name, value)
    if kind is str:
        if not isinstance(value, str):
            raise UsageError(f"{name} must be a text, in quotes, not {shown(value)}")
        return value
    read = read_cell(value, frozenset({kind}))
    if isinstance(read, bool) is not (kind is bool) or not isinstance(read, int | float):
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise UsageError(f"{name} must be {wanted}, not {shown(value)}")
    if not math.isfinite(read) or (read < 0 and name != "metric_value"):
        raise UsageError(f"{name} must be a number from 0 on, not {shown(value)}")
    if read == 0 and (name.startswith("step_seconds") or "peak" in name):
        raise UsageError(f"{name} is 0, which no step has; leave a figure that was not measured empty")
    if kind is int and name.endswith("_bytes"):
        return round(read)
    if kind is int and not float(read).is_integer():
        raise UsageError(f"{name} must be a whole number, not {shown(value)}")
    return kind(read)


def _moment(name: str, value: Any) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{name} must be a time, such as 2026-01-31T12:00:00, not {shown(value)}") from None
