"""The answer of `sizeup run` as a person reads it."""

from __future__ import annotations

import sys
import textwrap
from typing import IO, TYPE_CHECKING, Any

from estimators.memory import Verdict
from planner.cli.output import print_object, print_rows
from profiler.catalog import find_gpu
from profiler.script.record import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from planner.script_answer import ScriptAnswer

_GIB = 2**30
_STYLES = {Verdict.FITS: "green", Verdict.DOES_NOT_FIT: "red", Verdict.CANNOT_TELL: "yellow", None: "red"}
_MOST_LINES = 12
_MOST_STEPS = 4
_STOPS = {
    "steps": "stopped after the steps that were asked for",
    "stable": "stopped when the peaks no longer grew",
    "time": "stopped when the time was up",
}
_ENDINGS = {
    Ending.ENDED: "until its end",
    Ending.ERROR: "until it failed",
    Ending.OOM: "until memory ran out",
    Ending.KILLED: "until it was killed",
    Ending.INTERRUPTED: "until it was interrupted",
}
_COUNTS = {
    "saves": "tensors not saved",
    "redirected": "writes sent to a temporary folder",
    "uploads": "uploads left out",
    "reports": "trackers left out",
    "refused": "writes refused",
    "programs": "other programs started, whose files were not kept safe",
}


def print_script_answer(
    answer: ScriptAnswer, *, format: str = "table", stream: IO[str] | None = None
) -> None:
    """Print the answer, verdict first.

    Args:
        answer: What to print.
        format: One of the formats of `planner.cli.output`.
        stream: Where to; stdout by default.
    """
    if format == "table":
        _Report(answer, stream or sys.stdout).print()
    else:
        print_object(answer.to_json(), format=format, stream=stream)


def verdict_line(answer: ScriptAnswer) -> str:
    """Return the answer in one line."""
    run = answer.run
    if answer.verdict is None:
        if run.ending is Ending.KILLED:
            return f"the script was killed by signal {-(run.exit_code or 0)}"
        at = f" at {run.line}" if run.line else ""
        return f"the script failed{at}: {run.message}"
    if answer.verdict is Verdict.DOES_NOT_FIT:
        return f"does not fit on {_where(answer)}: {_out_of_memory(answer)}"
    if answer.verdict is Verdict.CANNOT_TELL:
        needs = f"; {_needs(answer)}" if run.peak_reserved_bytes else ""
        return f"cannot tell on {_where(answer)}: {answer.cannot_tell_because}{needs}"
    retries = " only with retries" if answer.fits_only_with_retries else ""
    return f"fits{retries} on {_where(answer)}: {_needs(answer)}"


def _where(answer: ScriptAnswer) -> str:
    name = find_gpu(answer.gpu).name if answer.gpu is not None else answer.device
    return f"each of {answer.world_size} x {name}" if answer.world_size > 1 else name


def _needs(answer: ScriptAnswer) -> str:
    reserved = _gib(answer.run.peak_reserved_bytes or 0)
    if answer.memory is None:
        return f"reserved {reserved} GiB at its peak"
    room = answer.memory.room_bytes_range
    span = f"{_gib(room[0])} to {_gib(room[1])}"
    return f"reserved {reserved} GiB at its peak, of {span} GiB beside the CUDA context"


def _out_of_memory(answer: ScriptAnswer) -> str:
    found = answer.run.out_of_memory
    if found is None:
        return f"out of memory: {answer.run.message}"
    at = f" at {found.line}" if found.line else ""
    return (
        f"out of memory in {found.phase} of step {found.step + 1}{at}, asking for "
        f"{_gib(found.oom_requested_bytes)} GiB with {_gib(found.oom_reserved_bytes)} GiB reserved"
    )


class _Report:
    """Writes one answer as text."""

    def __init__(self, answer: ScriptAnswer, stream: IO[str]) -> None:
        from rich.console import Console

        self._answer, self._run, self._stream = answer, answer.run, stream
        self._console = Console(file=stream, highlight=False, soft_wrap=True)

    def print(self) -> None:
        self._write(verdict_line(self._answer), style=_STYLES[self._answer.verdict])
        self._write(self._course(), style="dim")
        self._write("")
        self._peaks()
        self._timeline()
        self._holders()
        self._stack()
        self._small_print()

    def _write(self, text: str, *, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style))

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        print_rows(rows, columns, stream=self._stream)
        self._write("")

    def _course(self) -> str:
        run = self._run
        how = _STOPS.get(run.stop_reason or "") or _ENDINGS.get(run.ending, run.ending.value)
        by = f" ({run.trainer} was asked to end early)" if run.trainer and run.ending is Ending.ENDED else ""
        steps = "1 optimizer step" if run.steps == 1 else f"{run.steps} optimizer steps"
        ranks = f"; rank 0 of {self._answer.world_size}" if self._answer.world_size > 1 else ""
        return f"{steps} in {run.seconds:,.0f} s, {how}{by}{ranks}"

    def _peaks(self) -> None:
        run, answer = self._run, self._answer
        peaks = [
            ("allocated", run.peak_allocated_bytes),
            ("reserved", run.peak_reserved_bytes),
            ("reserved + assumed context", answer.assumed_process_bytes),
            ("process", run.peak_process_bytes),
        ]
        rows = [{"peak": name, "size_bytes": size} for name, size in peaks if size is not None]
        if rows:
            self._table(rows, ("peak", "size_bytes"))

    def _timeline(self) -> None:
        timeline = self._run.timeline
        if not timeline:
            return
        last = timeline[-1].step
        shown = [peak for peak in timeline if peak.step < _MOST_STEPS - 1 or peak.step >= last - 1]
        rows = [
            {
                "step": None if peak.phase == "load" else peak.step + 1,
                "phase": peak.phase,
                "peak_allocated_bytes": peak.peak_allocated_bytes,
                "peak_reserved_bytes": peak.peak_reserved_bytes,
            }
            for peak in shown
        ]
        self._table(rows, ("step", "phase", "peak_allocated_bytes", "peak_reserved_bytes"))
        if len(shown) < len(timeline):
            self._write(f"{len(timeline) - len(shown)} more phases with --format json.")
            self._write("")

    def _holders(self) -> None:
        holders = self._run.holders
        if holders is None:
            return
        at = f" at {holders.line}" if holders.line else ""
        self._write(
            f"What held memory at the peak, in {holders.phase} of step {(holders.step or 0) + 1}{at}:"
        )
        self._write("")
        rows = [{"what": holder.category, "size_bytes": holder.size_bytes} for holder in holders.by_category]
        self._table(rows, ("what", "size_bytes"))
        lines = [
            {
                "allocated at": holder.line,
                "inside": holder.inside,
                "what": holder.category,
                "size_bytes": holder.size_bytes,
            }
            for holder in holders.by_line[:_MOST_LINES]
        ]
        columns = ["allocated at", "inside", "what", "size_bytes"]
        if not any(line["inside"] for line in lines):
            columns.remove("inside")
        self._table(lines, columns)

    def _stack(self) -> None:
        found = self._run.out_of_memory
        if found is None or self._answer.verdict is not Verdict.DOES_NOT_FIT or len(found.stack) < 2:
            return
        self._write("The script's lines at that moment, from the innermost out:")
        for line in found.stack:
            self._write(f"  {line}")
        self._write("")

    def _small_print(self) -> None:
        lines = [f"{title}: {_listed(counts)}." for title, counts in self._counted()]
        lines += [f"Not virtual or assumed: {note}." for note in self._run.notes]
        if self._run.ooms and self._run.ending is not Ending.OOM:
            lines.append(f"Memory ran out {self._run.ooms} times, and the script went on.")
        if (memory := self._answer.memory) is not None:
            context = f"{memory.context_bytes / 2**20:,.0f}"
            lines.append(f"Assumed: a CUDA context of {context} MiB; it is not measured.")
            sources = textwrap.shorten(memory.source, 150, placeholder=" ... (all of it with --format json)")
            lines.append(f"The GPU's memory: {sources}.")
        for line in lines:
            self._write(line, style="dim")

    def _counted(self) -> list[tuple[str, Mapping[str, int]]]:
        counts = self._run.counts
        return [
            (f"{title.capitalize()} ({sum(counts[what].values()):,})", counts[what])
            for what, title in _COUNTS.items()
            if counts.get(what)
        ]


def _listed(counts: Mapping[str, int], most: int = 4) -> str:
    names = sorted(counts, key=lambda name: -counts[name])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _gib(size: int) -> str:
    return f"{size / _GIB:,.1f}" if size >= _GIB / 10 else f"{size / _GIB:,.3f}"
