"""One trial, or a few repeats of one, as a person reads them."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

from planner.cli.output import print_object, print_rows
from profiler.measurement import FIGURES, Outcome
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SENTENCES = {
    Outcome.OK: "measured",
    Outcome.OOM: "out of memory",
    Outcome.FAILED: "failed",
    Outcome.TIMEOUT: "timed out",
    Outcome.SKIPPED: "skipped",
}


def print_trials(
    rows: Sequence[Mapping[str, Any]], *, format: str = "table", stream: IO[str] | None = None
) -> None:
    """Print trials, verdict first: JSON is one object for one trial, and a list for several."""
    stream = stream or sys.stdout
    if format == "json" and len(rows) == 1:
        print_object(rows[0], format=format, stream=stream)
    elif format != "table":
        print_rows(rows, list(rows[0]), format=format, stream=stream)
    else:
        for row in rows:
            stream.write(f"{verdict(row)}\n")
            figures = {name: row[name] for name in FIGURES if row.get(name) is not None}
            if figures:
                print_object(figures, format=format, stream=stream)


def verdict(row: Mapping[str, Any]) -> str:
    """Return one line: what became of a trial, and why."""
    spec = TrialSpec.from_row(row)
    line = f"{_SENTENCES[Outcome(row['outcome'])]}: {spec} on {row['device']}"
    if row["outcome"] != Outcome.OK:
        line += f" ({row['reason']} in {row['phase'] or 'start'})"
    return f"{line}: {row['message']}" if row["message"] else line
