"""The answers of `sizeup fit` as a person reads them: the verdict first, then what it rests on."""

from __future__ import annotations

import statistics
import sys
import textwrap
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from estimators.memory import Verdict
from planner.cli.output import print_object, print_rows
from planner.fit.command_line import command_line
from profiler.catalog import find_gpu

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from planner.fit.answer import FitAnswer, PeakAt

_MIB, _GIB = 2**20, 2**30
# What a table of sizes would round to zero.
_LEAST_SHOWN_MIB, _LEAST_SHOWN_GIB = 0.05, 0.0005
_STYLES = {Verdict.FITS: "green", Verdict.DOES_NOT_FIT: "red", Verdict.CANNOT_TELL: "yellow"}
_SHORT_COLUMNS = ("gpu", "verdict", "peak_process_bytes", "usable_bytes", "headroom_bytes")


def print_answer(
    answer: FitAnswer, *, format: str = "table", source: Path | None = None, stream: IO[str] | None = None
) -> None:
    """Print one answer.

    Args:
        answer: What to print.
        format: One of the formats of `planner.cli.output`.
        source: The trainer's file that the trial comes from, for the command to go on with.
        stream: Where to; stdout by default.
    """
    if format == "table":
        _Report(answer, source, stream or sys.stdout).print()
    else:
        print_object(answer.to_json(), format=format, stream=stream)


def print_answers(
    answers: Sequence[FitAnswer], *, format: str = "table", stream: IO[str] | None = None
) -> None:
    """Print the answers for several GPUs: a line each, or every key of the contract as JSON and CSV."""
    if format in ("json", "csv"):
        rows = [answer.to_json() for answer in answers]
        print_rows(rows, list(rows[0]), format=format, stream=stream)
    else:
        print_rows([_short(answer) for answer in answers], _SHORT_COLUMNS, format=format, stream=stream)


def _short(answer: FitAnswer) -> dict[str, Any]:
    """Return the line of a GPU; of its usable memory, what is sure."""
    usable = answer.basis.usable_bytes_range[0]
    return {
        "gpu": answer.gpu,
        "verdict": verdict_words(answer),
        "peak_process_bytes": answer.peak_process_bytes,
        "usable_bytes": usable,
        "headroom_bytes": usable - answer.peak_process_bytes,
    }


def verdict_words(answer: FitAnswer) -> str:
    """Return the verdict in words."""
    words = answer.verdict.value.replace("_", " ")
    return f"{words} only with retries" if answer.fits_only_with_retries else words


def verdict_line(answer: FitAnswer) -> str:
    """Return the answer in one line: verdict, what is needed, and what there is."""
    low, high = answer.interval_process_bytes
    usable = _range(*answer.basis.usable_bytes_range)
    line = (
        f"{verdict_words(answer)}: needs {_gib(answer.peak_process_bytes)} GiB ({_gib(low)} to {_gib(high)}) "
        f"of the {usable} GiB usable on {find_gpu(answer.gpu).name}"
    )
    if answer.failed_at is not None:
        runs = "runs" if answer.verdict is Verdict.DOES_NOT_FIT else "would run"
        place = _place(answer.failed_at.phase, answer.failed_at.module)
        line += f"; {runs} out of memory in {place}, asking for {_gib(answer.failed_at.bytes)} GiB"
    return line


def lengths_line(answer: FitAnswer) -> str:
    """Return what varying lengths make of the steps' peaks, in one line, and which of them decides."""
    spec, peaks = answer.spec, answer.step_peaks_reserved_bytes
    is_drawn = isinstance(spec.lengths, Mapping)
    lengths = f"drawn with seed {spec.lengths_seed}" if is_drawn else "as given"
    ninth = statistics.quantiles(peaks, n=10, method="inclusive")[-1]
    return (
        f"{len(peaks)} steps with lengths {lengths} reserve {_gib(round(statistics.median(peaks)))} GiB in "
        f"the median, {_gib(round(ninth))} at the 90th percentile and {_gib(max(peaks))} at most. The most "
        "decides" + (", and a longer batch than these would need more." if is_drawn else ".")
    )


class _Report:
    """Writes one answer as text."""

    def __init__(self, answer: FitAnswer, source: Path | None, stream: IO[str]) -> None:
        from rich.console import Console

        self._answer, self._source, self._stream = answer, source, stream
        self._console = Console(file=stream, highlight=False, soft_wrap=True)

    def print(self) -> None:
        answer = self._answer
        self._write(verdict_line(answer), style=_STYLES[answer.verdict])
        self._write(str(answer.spec), style="dim")
        self._write("")
        self._sized("peak", [(tier, getattr(answer, f"peak_{tier}_bytes")) for tier in _TIERS])
        self._breakdown()
        if answer.spec.lengths is not None:
            self._write(lengths_line(answer))
            self._write("")
        self._sizes()
        self._suggestions()
        self._small_print()
        if (command := self._next_command()) is not None:
            self._write(f"Next: {command}")

    def _write(self, text: str, *, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style))

    def _breakdown(self) -> None:
        parts = [*self._answer.breakdown_bytes.items(), ("peak process", self._answer.peak_process_bytes)]
        self._write(f"The process at its peak, in {_moment(self._answer.basis.peak_at)}:")
        self._write("")
        least = (
            _LEAST_SHOWN_GIB * _GIB if self._answer.peak_process_bytes >= _GIB else _LEAST_SHOWN_MIB * _MIB
        )
        self._sized("part", [(name.replace("_", " "), size) for name, size in parts if size >= least])

    def _sized(self, header: str, sizes: list[tuple[str, int]]) -> None:
        rows = [{header: name, "size_bytes": size} for name, size in sizes]
        print_rows(rows, (header, "size_bytes"), stream=self._stream)
        self._write("")

    def _sizes(self) -> None:
        answer = self._answer
        spec, batch, length = answer.spec, answer.largest_batch_size, answer.longest_sequence
        if (reason := answer.basis.sizes_unknown_because) is not None:
            self._write(f"The largest batch and the longest sequence are not known: {reason}.")
        elif spec.task == "image-classification":
            self._write(f"Largest batch size: {batch:,}" if batch else "No batch size fits.")
        else:
            at = f"at {spec.sequence_length:,} tokens"
            self._write(f"Largest batch size {at}: {batch:,}" if batch else f"No batch size fits {at}.")
            at = f"at batch size {spec.batch_size:,}"
            self._write(f"Longest sequence {at}: {length:,} tokens" if length else f"No length fits {at}.")
        self._write("")

    def _suggestions(self) -> None:
        if not (suggestions := self._answer.suggestions):
            return
        self._write("Ways to make it fit, from the least change to the greatest:")
        self._write("")
        for suggestion in suggestions:
            verdict, style = ("fits", "green") if suggestion.fits else ("not enough", "dim")
            peak = _gib(suggestion.peak_process_bytes)
            self._write(f"{verdict:>10}  {peak:>7} GiB  {suggestion.change}", style=style)
            if suggestion.fits:
                self._write(f"{'':25}{suggestion.command}")
        self._write("")

    def _small_print(self) -> None:
        answer, basis = self._answer, self._answer.basis
        versions = ", ".join(f"{name} {version}" for name, version in basis.versions.items() if version)
        kernels = ", ".join(basis.attention_kernels) or "none of PyTorch's own"
        for line in (
            f"Assumed: {'; '.join(answer.assumptions)}.",
            f"Basis: engine {answer.engine}; {versions}; attention kernel {kernels}.",
            f"The GPU's memory: {_shortened(basis.gpu_memory_source)}.",
            f"Interval: {answer.interval_level:.0%}, from {basis.interval_rows} published measurements "
            f"({basis.interval_source}) and the range of the CUDA context.",
        ):
            self._write(line, style="dim")

    def _next_command(self) -> str | None:
        """Return the command to go on with: run what fits, or write it into the file it came from."""
        answer = self._answer
        if answer.verdict is Verdict.FITS:
            return command_line(answer.spec)
        if self._source is not None and any(suggestion.fits for suggestion in answer.suggestions):
            return f"the same with --write NEW{self._source.suffix} writes the first that fits into a file"
        if not any(suggestion.fits for suggestion in answer.suggestions):
            return command_line(answer.spec, "fit", ["--gpu", "all"])
        return None


_TIERS = ("allocated", "reserved", "process")


def _gib(size: int) -> str:
    return f"{size / _GIB:,.1f}" if size >= _GIB / 10 else f"{size / _GIB:,.3f}"


def _range(low: int, high: int) -> str:
    return _gib(low) if _gib(low) == _gib(high) else f"{_gib(low)} to {_gib(high)}"


def _place(phase: str, module: str) -> str:
    return f"{phase} at {module}" if module else phase


def _moment(peak: PeakAt) -> str:
    place = _place(peak.phase, peak.module)
    return place if peak.phase == "load" else f"{place} of step {peak.step + 1}"


def _shortened(sources: str) -> str:
    return textwrap.shorten(sources, 150, placeholder=" ... (all of them with --format json)")
