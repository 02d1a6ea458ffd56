"""Progress of trials on stderr: a live line on a terminal, a plain line per trial elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Self

from profiler.measurement import Outcome

if TYPE_CHECKING:
    from profiler.measurement import Measurement
    from profiler.sweep.plan import PlannedTrial

_STYLES = {
    Outcome.OK: "green",
    Outcome.OOM: "yellow",
    Outcome.FAILED: "red",
    Outcome.TIMEOUT: "red",
    Outcome.SKIPPED: "dim",
}


class TrialProgress:
    """Shows the trials of a sweep as they run; keeps `profiler.sweep.runner.SweepListener`.

    Args:
        total: How many trials there are to run.
        quiet: Show nothing.
        stream: Where to; stderr by default.
    """

    def __init__(self, total: int, *, quiet: bool = False, stream: IO[str] | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(file=stream or sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self._live = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._total = total
        self._task = self._live.add_task("starting", total=total)
        self._counts = Counter[str]()
        self._running = ""
        self._ended: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def started(self, trial: PlannedTrial, attempt: int) -> None:
        """Show the running trial."""
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._running = f"{trial.spec} (repeat {trial.repeat}{again})"
        self._describe("")

    def event(self, event: dict[str, Any]) -> None:
        """Show how far the running trial is; a listener for `Harness`."""
        match event["event"]:
            case "waiting":
                self._console.print("waiting: another trial holds the device", style="dim")
            case "phase":
                self._describe(event["phase"])
            case "progress":
                self._describe(f"{event['stage']} {event['step'] or ''}".strip())

    def _describe(self, stage: str) -> None:
        counts = " ".join(f"{count} {word}" for word, count in self._counts.items())
        parts = [part for part in (counts, self._running, stage) if part]
        self._live.update(self._task, description=" · ".join(parts))

    def ended(self, measurement: Measurement) -> None:
        """Count the trial, and say in a line what became of it."""
        self._counts[measurement.ending] += 1
        self._ended.add((measurement.spec.key, measurement.repeat))
        self._live.update(self._task, completed=len(self._ended))
        from rich.text import Text

        line = Text(f"[{len(self._ended)}/{self._total}] ")
        line.append(measurement.ending, style=_STYLES[measurement.outcome])
        line.append(f"  {measurement.spec} (repeat {measurement.repeat}){_figures(measurement)}")
        if measurement.message:
            line.append(f": {measurement.message}", style="dim")
        self._console.print(line)


def _figures(measurement: Measurement) -> str:
    figures = measurement.figures
    parts = []
    if (seconds := figures.get("step_seconds_median")) is not None:
        parts.append(f"{seconds:.4g} s/step")
    for tier in ("reserved", "process"):
        if (peak := figures.get(f"peak_{tier}_bytes")) is not None:
            parts.append(f"{peak / 2**20:,.0f} MiB {tier}")
            break
    return f"  {', '.join(parts)}" if parts else ""
