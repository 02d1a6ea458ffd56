"""Compares what a virtual GPU measures with what others measured on real ones and published.

    python -m benchmarks.published_virtual [--data FOLDER] [--only fitcheck|peft] [--rows NAME ...]

FitCheck's rows run on the virtual T4, and their peak of allocated memory in a step after the first is
compared. The runs of PEFT's suite are on an L40S, and what is compared is the mean over all steps of what is
allocated at the end of a step. That grows with the length of the batch, so it is what a batch of the mean
padded length leaves; that length is not published, and is inferred from the one row that is not scored.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.published import fitcheck, peft_suite
from benchmarks.published.rows import bytes_of, print_libraries, read_table
from benchmarks.published.scoring import Summary, signed_error
from benchmarks.published_memory import DEFAULT_FOLDER
from benchmarks.virtual_trials import measure, step_peak_bytes
from profiler.errors import SizeupError
from profiler.measurement import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.published.rows import PublishedRow

_COLUMN = "mem_allocated_end_of_step_avg_bytes"
_MOST_PADDING = 1.25
"""Batches are cut from 80 samples in the order of their length: padding is a few percent of their mean."""

_STEPS = 2  # the first step leaves no optimizer state behind that the second would not


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the published files")
    parser.add_argument("--only", choices=("fitcheck", "peft"), help="one of the files")
    parser.add_argument("--rows", nargs="+", default=[""], help="rows whose name holds one of these")
    options = parser.parse_args()
    try:
        if options.only != "peft":
            compare_fitcheck(read_table(options.data / fitcheck.FILE), options.rows)
        if options.only != "fitcheck":
            compare_peft(read_table(options.data / peft_suite.FILE), options.rows)
    except SizeupError as error:
        sys.exit(str(error))


def compare_fitcheck(table: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Measure FitCheck's rows and print the errors of both tiers."""
    rows = [row for row in map(fitcheck.published_row, table) if _is_chosen(row, names)]
    errors: dict[str, list[float]] = {"allocated": [], "reserved": []}
    for row in rows:
        measurement = measure(row.spec, row.gpu, steps=_STEPS, memory_bytes=None)
        if measurement.outcome is not Outcome.OK:
            print(f"{row.name}: {measurement.ending}: {measurement.message}", flush=True)
            continue
        said = []
        for tier, found in errors.items():
            published, figure = getattr(row, f"{tier}_bytes"), step_peak_bytes(measurement, tier)
            found.append(signed_error(figure, published))
            said.append(f"{tier} {_gib(figure)} GiB {found[-1]:+.2%}")
        print(f"{row.name}: {', '.join(said)}", flush=True)
    _print_summary(errors, len(rows))
    print_libraries(rows)


def compare_peft(table: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Measure every run of PEFT's suite, and print the errors of those that publish memory."""
    cells_of = {cells["experiment"]: cells for cells in table}
    reference = cells_of.pop(peft_suite.REFERENCE)
    length = _inferred_mean_length(reference)
    rows = [row for cells in cells_of.values() if _is_chosen(row := _peft_row(cells, length), names)]
    errors: list[float] = []
    ran = 0
    for row in rows:
        measurement = measure(row.spec, row.gpu, steps=_STEPS)
        if measurement.outcome is not Outcome.OK:
            print(f"{row.name}: {measurement.ending}: {measurement.message}", flush=True)
            continue
        ran += 1
        figure = measurement.figures["resident_bytes"]
        said = ""
        if (published := bytes_of(cells_of[row.name][_COLUMN])) is not None:
            errors.append(signed_error(figure, published))
            said = f" {errors[-1]:+.2%}"
        print(f"{row.name}: end of step {_gib(figure)} GiB{said}", flush=True)
    print(f"\n{ran} of {len(rows)} configurations ran", end="")
    _print_summary({"end of step": errors}, len(rows))
    print_libraries(rows)


def _inferred_mean_length(reference: Mapping[str, str]) -> int:
    """Infer the mean padded length from the row that is not scored, and print how much hangs on it."""
    unpadded = peft_suite.mean_length(reference)
    low, high = round(unpadded), round(_MOST_PADDING * unpadded)
    published = bytes_of(reference[_COLUMN])
    if published is None:
        raise SizeupError(f"{peft_suite.REFERENCE} has no memory to infer the length from")

    def measured(length: int) -> int:
        row = _peft_row(reference, length)
        return int(measure(row.spec, row.gpu, steps=_STEPS).figures["resident_bytes"])

    at_ends = measured(low), measured(high)
    per_token = (at_ends[1] - at_ends[0]) / (high - low)  # outputs and the cache of keys and values
    length = peft_suite.infer_length(
        lambda length: round(at_ends[0] + per_token * (length - low)), published, low=low, high=high
    )
    print(
        f"mean padded length: {length} tokens ({unpadded:.1f} without padding), inferred from "
        f"{peft_suite.REFERENCE}, whose measurement is then {signed_error(measured(length), published):+.3%} "
        f"off; a token more or less changes it by {per_token / published:.3%}",
        flush=True,
    )
    return length


def _peft_row(cells: Mapping[str, str], length: int) -> PublishedRow:
    """Return a row whose every batch has one length."""
    row = peft_suite.published_row(cells, length)
    return replace(row, spec=row.spec.with_changes(lengths=[length]))


def _is_chosen(row: PublishedRow, names: Sequence[str]) -> bool:
    return any(name in row.name for name in names)


def _print_summary(errors: Mapping[str, Sequence[float]], rows: int) -> None:
    print()
    for figure, found in errors.items():
        if found:
            summary = Summary.of(found)
            print(
                f"{figure:11} n {summary.rows} of {rows} rows  median {summary.median:.3%}"
                f"  p90 {summary.p90:.3%}  worst {summary.worst:.3%}"
            )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3f}"


if __name__ == "__main__":
    main()
