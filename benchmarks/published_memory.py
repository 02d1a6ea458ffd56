"""Compares predicted memory with what others measured and published.

    python -m benchmarks.published_memory [--data FOLDER] [--only NAME] [--write]

Each row of a file becomes a trial by one mapping from its columns (benchmarks/published/), which names no
method, model or row. Prints each row's prediction, measurement and signed error, then n, median, 90th
percentile and worst of each file, and the verdicts at the card's memory. `--write` puts the interval of the
residuals of reserved memory where predictions take it from, estimators/memory_residuals.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.published import canifinetune, fitcheck, peft_suite
from benchmarks.published.rows import PublishedRow, predict_peaks, print_libraries, read_table
from benchmarks.published.scoring import Summary, residual_interval, signed_error
from estimators.memory import Verdict, fits
from estimators.symbolic.tracer import Tracer, TraceRequest
from estimators.target import Target
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.published.rows import Figure

DEFAULT_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "published"
RESIDUALS_FILE = Path(__file__).parents[1] / "estimators" / "memory_residuals.json"
LEVEL = 0.9
NAMES = ("peft", "fitcheck", "canifinetune")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A row with what was predicted for it; None where it could not be traced."""

    row: PublishedRow
    reserved_bytes: int | None
    allocated_bytes: int | None
    verdict: Verdict | None
    failure: str | None
    is_reference: bool = False

    def error(self, figure: Figure) -> float | None:
        """Return the signed error of a figure; None where it was not published, predicted, or is fitted."""
        predicted, measured = getattr(self, f"{figure}_bytes"), getattr(self.row, f"{figure}_bytes")
        if predicted is None or measured is None or self.is_reference:
            return None
        return signed_error(predicted, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the published files")
    parser.add_argument("--only", choices=NAMES, help="one of the files")
    parser.add_argument("--write", action="store_true", help="write the residuals that predictions use")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write needs the rows of all files")
    try:
        scored: list[Scored] = []
        with Tracer() as tracer:
            for name in [arguments.only] if arguments.only else NAMES:
                rows, figure = _rows(name, arguments.data, tracer)
                part = score(rows, tracer)
                _print_rows(name, part)
                print_libraries(rows)
                _print_summary(part, figure)
                scored += part
        if arguments.write:
            RESIDUALS_FILE.write_text(residuals_text(scored), encoding="utf-8")
            print(f"Wrote {RESIDUALS_FILE}")
    except SizeupError as error:
        sys.exit(str(error))


def _rows(name: str, folder: Path, tracer: Tracer) -> tuple[list[PublishedRow], Figure]:
    """Return the rows of a file, and the figure that it is scored by."""
    if name == "fitcheck":
        return [fitcheck.published_row(cells) for cells in read_table(folder / fitcheck.FILE)], "allocated"
    if name == "canifinetune":
        table = read_table(folder / canifinetune.FILE)
        return [canifinetune.published_row(cells) for cells in table], "allocated"
    table = read_table(folder / peft_suite.FILE)
    longest = _inferred_length(table, tracer)
    return [peft_suite.published_row(cells, longest) for cells in table], "reserved"


def _inferred_length(table: Sequence[dict[str, str]], tracer: Tracer) -> int:
    """Infer the longest batch from the one row that is not scored, and print how much hangs on it."""
    reference = next(cells for cells in table if cells["experiment"] == peft_suite.REFERENCE)
    limit = int(reference["max_seq_length"])

    def predicted(length: int, **changes: float) -> int:
        row = peft_suite.published_row(reference, length, **changes)
        ledger = tracer.trace(row.spec, Target.of(row.gpu), steps=row.steps)
        return predict_peaks(ledger, row).reserved_bytes

    measured = peft_suite.published_row(reference, limit).reserved_bytes
    if measured is None:
        raise SizeupError(f"{peft_suite.REFERENCE} has no memory to infer the length from")
    longest = peft_suite.infer_length(predicted, measured, low=limit // 2, high=limit)
    per_token = (predicted(longest + 16) - predicted(longest - 16)) / 32
    print(
        f"longest batch: {longest} tokens, inferred from {peft_suite.REFERENCE}, whose prediction is then"
        f" {signed_error(predicted(longest), measured):+.2%} off; a token more or less changes it by"
        f" {per_token / measured:.3%}, a shortest batch of 0.2 or 0.6 of the mean length instead of 0.5 by"
        f" {signed_error(predicted(longest, shortest_of_mean=0.2), predicted(longest)):+.2%} or"
        f" {signed_error(predicted(longest, shortest_of_mean=0.6), predicted(longest)):+.2%}"
    )
    return longest


def score(rows: Sequence[PublishedRow], tracer: Tracer) -> list[Scored]:
    """Trace rows and replay them; what cannot be traced says why."""
    requests = [TraceRequest(spec=row.spec, target=Target.of(row.gpu), steps=row.steps) for row in rows]
    scored = []
    for row, result in zip(rows, tracer.trace_all(requests), strict=True):
        is_reference = row.name == peft_suite.REFERENCE
        if isinstance(result, SizeupError):
            scored.append(
                Scored(row=row, reserved_bytes=None, allocated_bytes=None, verdict=None, failure=str(result))
            )
            continue
        peaks = predict_peaks(result, row)
        scored.append(
            Scored(
                row=row,
                reserved_bytes=peaks.reserved_bytes,
                allocated_bytes=peaks.allocated_bytes,
                verdict=fits(result, row.spec, row.gpu),
                failure=None,
                is_reference=is_reference,
            )
        )
    return scored


def residuals_text(scored: Sequence[Scored]) -> str:
    """Return the file of residuals: the interval of (measured - predicted) / predicted, reserved memory."""
    errors = [error for one in scored if (error := one.error("reserved")) is not None]
    low, high = residual_interval([1 / (1 + error) - 1 for error in errors], LEVEL)
    content = {
        "level": LEVEL,
        "low": round(low, 4),
        "high": round(high, 4),
        "rows": len(errors),
        "source": "reserved memory, benchmarks/published_memory.py",
    }
    return json.dumps(content, indent=1) + "\n"


def _print_rows(name: str, scored: Sequence[Scored]) -> None:
    width = max(len(one.row.name) for one in scored)
    print(f"\n{name}: GiB\n{'':{width}}  {'reserved':^26}  {'allocated':^26}  verdict")
    print(f"{'row':{width}}  " + f"{'predicted':>9} {'measured':>9} {'error':>7} " * 2)
    for one in scored:
        if one.failure is not None:
            print(f"{one.row.name:{width}}  not traced: {one.failure}")
            continue
        cells = [
            f"{_gib(getattr(one, f'{figure}_bytes')):>9} {_gib(getattr(one.row, f'{figure}_bytes')):>9} "
            f"{_percent(one.error(figure)):>7}"
            for figure in ("reserved", "allocated")
        ]
        print(f"{one.row.name:{width}}  {'  '.join(cells)}  {one.verdict}{' (reference)' * one.is_reference}")


def _print_summary(scored: Sequence[Scored], scored_by: Figure) -> None:
    print()
    for figure in ("reserved", "allocated"):
        errors = [error for one in scored if (error := one.error(figure)) is not None]
        if errors:
            summary = Summary.of(errors)
            print(
                f"{figure:9} n {summary.rows}  median {summary.median:.2%}  p90 {summary.p90:.2%}"
                f"  worst {summary.worst:.2%}{'  <- scored' * (figure == scored_by)}"
            )
    traced = [one for one in scored if one.failure is None]
    print(f"traced    {len(traced)} of {len(scored)}")
    for completed, expected in ((True, Verdict.FITS), (False, Verdict.DOES_NOT_FIT)):
        verdicts = Counter(one.verdict for one in traced if one.row.completed is completed)
        if total := verdicts.total():
            said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
            what = "ran" if completed else "ran out of memory"
            print(f"verdict   {total} that {what}: {said} (right: {verdicts[expected] / total:.0%})")


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.3f}"


def _percent(error: float | None) -> str:
    return "" if error is None else f"{error:+.2%}"


if __name__ == "__main__":
    main()
