"""`PublishedRow`: a measurement that somebody published, as a trial of ours and the figure to compare."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from estimators.allocator import Replay, replay
from profiler.errors import UsageError
from profiler.measurement import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from estimators.ledger import Ledger
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

Figure = Literal["reserved", "allocated"]
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One published measurement. A figure that was not published is None."""

    name: str
    spec: TrialSpec
    gpu: GpuFacts
    steps: int
    """Optimizer steps to trace until the peak is there."""
    first_step: int | None
    """The step from which on peaks were recorded; None if loading counted, too."""
    reserved_bytes: int | None
    allocated_bytes: int | None
    completed: bool
    """Whether the trial ran, rather than running out of memory."""
    libraries: Mapping[str, str]
    """Versions that the author had."""
    reserved_before_bytes: int = 0
    """What the author subtracts: reserved before the trial began."""


@dataclass(frozen=True, kw_only=True)
class PredictedPeaks:
    """Peaks of a ledger over what a row recorded, in bytes."""

    reserved_bytes: int
    allocated_bytes: int


def predict_peaks(ledger: Ledger, row: PublishedRow) -> PredictedPeaks:
    """Replay a ledger and return its peaks where the row's author looked."""
    replayed: Replay = replay(ledger.events, ledger.sizes, marks=[mark.event for mark in ledger.marks[1:]])
    recorded = [
        peaks
        for mark, peaks in zip(ledger.marks, replayed.phases, strict=True)
        if row.first_step is None or (mark.phase is not Phase.LOAD and mark.step >= row.first_step)
    ]
    return PredictedPeaks(
        reserved_bytes=max(peaks.reserved_bytes for peaks in recorded) - row.reserved_before_bytes,
        allocated_bytes=max(peaks.allocated_bytes for peaks in recorded),
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a file of published measurements.

    Raises:
        UsageError: If it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def versions(cells: Mapping[str, str], suffix: str = "") -> dict[str, str]:
    """Return the versions that a row states, in columns named after the libraries."""
    return {name: cells[f"{name}{suffix}"] for name in LIBRARIES if cells[f"{name}{suffix}"]}


def print_libraries(rows: Sequence[PublishedRow]) -> None:
    """Say where the libraries that run here are not those that were measured."""
    print()
    for name in LIBRARIES:
        measured = sorted({row.libraries[name] for row in rows if name in row.libraries})
        print(f"{name:13} {metadata.version(name)} here, {' or '.join(measured) or 'not stated'} in the rows")


def bytes_of(cell: str, unit: int = 1) -> int | None:
    """Return a figure in bytes, or None for an empty cell."""
    return round(float(cell) * unit) if cell else None


def choice(cells: Mapping[str, str], column: str, meanings: Mapping[str, str]) -> str:
    """Return what a cell means.

    Raises:
        UsageError: If no meaning is known.
    """
    try:
        return meanings[cells[column]]
    except KeyError:
        known = ", ".join(map(repr, meanings))
        raise UsageError(f"{column} is {cells.get(column)!r}; known: {known}") from None
