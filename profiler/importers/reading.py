"""What a source holds, and how it comes into a store: once, however often it is imported."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec.frozen import canonical_json
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from profiler.measurement import Measurement
    from profiler.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class RefusedRow:
    """A row of a source that is no measurement."""

    row: str
    """Which one: a file, a line, an experiment."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a source holds."""

    origin: str
    measurements: tuple[Measurement, ...]
    refused: tuple[RefusedRow, ...]
    notes: tuple[str, ...] = ()
    """What whoever imports it should know, such as figures that were left out and why."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What adding a reading did."""

    added: int
    already_there: int
    changed: int
    """Rows that an earlier import left and that this one reads otherwise; they stay as they were."""


def origin_of(name: str) -> str:
    """Return the origin of rows imported under a name.

    Raises:
        UsageError: If the name is not made of letters, digits, dots, hyphens and underscores.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name of an import must be letters, digits, dots, hyphens or underscores, not {shown(name)}"
        )
    return f"imported:{name}"


def row_id(origin: str, *identity: Any) -> str:
    """Return the id of a row: the same whenever the same row of the same source is imported.

    Args:
        origin: As `origin_of`.
        identity: JSON values by which the source tells its rows apart.
    """
    return hashlib.sha256(canonical_json([origin, *identity]).encode()).hexdigest()[:32]


def add_to_store(reading: Reading, store: Store) -> ImportReport:
    """Add the measurements of a reading that are not in a store yet, in one transaction.

    Raises:
        StoreError: If the store cannot be read or written.
    """
    there = {row.id: row for row in store.measurements(origins=(reading.origin,))}
    fresh = [row for row in reading.measurements if row.id not in there]
    known = [row for row in reading.measurements if row.id in there]
    report = store.add_many(fresh)
    return ImportReport(
        added=report.added,
        already_there=len(known) + report.already_there,
        changed=sum(not _is_same(row, there[row.id]) for row in known),
    )


def _is_same(row: Measurement, earlier: Measurement) -> bool:
    # Where a source states no time, that of its file stands in, which a copy changes.
    return dataclasses.replace(row, measured_at=earlier.measured_at) == earlier
