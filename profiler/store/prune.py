"""Which measurements are to be deleted: only what is named, never by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, or_

from profiler.errors import UsageError
from profiler.measurement import Outcome, Reason
from profiler.store import schema
from profiler.store.records import to_utc_text

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

_TRANSIENT = sorted(reason.value for reason in Reason if reason.is_transient)


def condition(
    *,
    outcomes: Collection[Outcome] | None,
    reasons: Collection[Reason] | None,
    origins: Collection[str] | None,
    sweep: str | None,
    before: datetime | None,
    superseded: bool,
) -> ColumnElement[bool]:
    """Build the condition on `measurements` that all the given criteria make together.

    Raises:
        UsageError: If there is no criterion, or `before` does not say its time zone.
    """
    table = schema.measurements.c
    criteria: list[ColumnElement[bool]] = []
    if outcomes is not None:
        criteria.append(table.outcome.in_(sorted(Outcome(outcome).value for outcome in outcomes)))
    if reasons is not None:
        criteria.append(table.reason.in_(sorted(Reason(reason).value for reason in reasons)))
    if origins is not None:
        criteria.append(table.origin.in_(sorted(origins)))
    if sweep is not None:
        criteria.append(table.sweep == sweep)
    if before is not None:
        if before.tzinfo is None:
            raise UsageError(
                f"the moment to delete before must say its time zone, not {before.isoformat()!r}"
            )
        criteria.append(table.measured_at < to_utc_text(before))
    if superseded:
        criteria.append(_superseded())
    if not criteria:
        raise UsageError(
            "say what to delete: outcomes, reasons, origins, a sweep, a moment to delete before, or what is "
            "superseded"
        )
    return and_(*criteria)


def _superseded() -> ColumnElement[bool]:
    """Failures that may pass, with a later attempt at the same that ended for good."""
    table, later = schema.measurements.c, schema.measurements.alias("later")
    same = (table.spec_key, table.environment_key, table.device, table.origin, table.repeat)
    return and_(
        table.reason.in_(_TRANSIENT),
        exists().where(
            *(later.c[column.name] == column for column in same),
            later.c.sweep.is_not_distinct_from(table.sweep),
            or_(later.c.reason.is_(None), later.c.reason.not_in(_TRANSIENT)),
            or_(
                later.c.measured_at > table.measured_at,
                and_(later.c.measured_at == table.measured_at, later.c.number > table.number),
            ),
        ),
    )
