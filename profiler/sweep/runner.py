"""Runs the trials of a plan one after another; every row is in the store before the next trial starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from profiler.measurement import Measurement, Outcome, Reason
from profiler.spec.frozen import thaw
from profiler.sweep.plan import is_larger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.harness import Harness
    from profiler.spec import TrialSpec
    from profiler.store import Store
    from profiler.store.selection import Selection
    from profiler.sweep.plan import PlannedTrial, SweepPlan


class SweepListener(Protocol):
    """Told what a sweep does, to show it."""

    def started(self, trial: PlannedTrial, attempt: int) -> None:
        """A trial begins."""

    def ended(self, measurement: Measurement) -> None:
        """A row is in the store."""


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What became of a sweep."""

    measurements: tuple[Measurement, ...]
    """The rows of this run, in order."""
    already_there: int
    """Trials whose finished row an earlier run left."""
    failed_before: bool = False
    """Whether one of those rows is a failure or a time-out."""

    @property
    def endings(self) -> Counter[str]:
        """How many rows ended how; what cannot be built is counted apart from what went wrong."""
        return Counter(measurement.ending for measurement in self.measurements)

    @property
    def has_failures(self) -> bool:
        """Whether a trial failed or timed out in the end; OOM, skipped and not-possible do not count."""
        last = {(m.spec.key, m.repeat): m for m in self.measurements}
        return self.failed_before or any(_is_failure(m) for m in last.values())


def _is_failure(m: Measurement) -> bool:
    is_failed = m.outcome is Outcome.FAILED and m.reason is not Reason.NOT_POSSIBLE
    return is_failed or m.outcome is Outcome.TIMEOUT


@dataclass(kw_only=True)
class SweepRunner:
    """Runs a plan on one device and keeps its rows in a store.

    Args:
        name: Name of the sweep, the column `sweep` of its rows.
        plan: What to run.
        harness: What to run it with.
        store: Where the rows go.
        listener: Told what happens.
        retries: Further attempts after a transient failure.
        stop_after_oom: Skip a trial once the same with a smaller batch ran out of memory.
        resume: Leave out trials that already have a finished row of this sweep, device, environment and
            protocol.
    """

    name: str | None
    plan: SweepPlan
    harness: Harness
    store: Store
    listener: SweepListener
    retries: int = 1
    stop_after_oom: bool = True
    resume: bool = False
    _out_of_memory: list[TrialSpec] = field(default_factory=list)

    @property
    def selection(self) -> Selection:
        """The rows of this sweep on this device and in this environment."""
        selection: Selection = {
            "origins": (self.harness.device.origin,),
            "devices": (self.harness.device.name,),
            "environment_key": self.harness.environment.key,
        }
        return {**selection, "sweep": self.name} if self.name is not None else selection

    def pending(self, earlier: Sequence[Measurement]) -> list[PlannedTrial]:
        """Return the trials that `run` would run, given the rows of `earlier`."""
        done = {(row.spec.key, row.repeat) for row in earlier} if self.resume else set()
        return [trial for trial in self.plan.trials if (trial.spec.key, trial.repeat) not in done]

    def earlier(self) -> list[Measurement]:
        """Return the finished rows that `resume` may rely on."""
        protocol = self.harness.protocol.recorded
        rows = self.store.measurements(**self.selection)
        return [row for row in rows if row.is_finished and thaw(row.protocol) == protocol]

    def run(self) -> SweepReport:
        """Run every trial that is missing.

        Ctrl-C ends the running trial, keeps its row as interrupted, and is raised on.

        Raises:
            SizeupError: If the store cannot take a row or no trial can be started; rows so far are kept.
        """
        earlier = self.earlier() if self.resume else []
        pending, planned = self.pending(earlier), set(self.plan.specs)
        self._out_of_memory = [row.spec for row in earlier if row.outcome is Outcome.OOM]
        rows: list[Measurement] = []
        for trial in pending:
            for attempt in range(1, self.retries + 2):
                rows.append(self._attempt(trial, attempt))
                if rows[-1].is_finished:
                    break
        return SweepReport(
            measurements=tuple(rows),
            already_there=len(self.plan.trials) - len(pending),
            failed_before=any(_is_failure(row) for row in earlier if row.spec in planned),
        )

    def _attempt(self, trial: PlannedTrial, attempt: int) -> Measurement:
        self.listener.started(trial, attempt)
        smaller = next((spec for spec in self._out_of_memory if is_larger(trial.spec, than=spec)), None)
        try:
            if self.stop_after_oom and smaller is not None:
                message = f"the same with batch_size {smaller.batch_size} ran out of memory"
                row = self.harness.not_run(
                    trial.spec, Reason.AFTER_OOM, message, repeat=trial.repeat, sweep=self.name
                )
            else:
                row = self.harness.measure(trial.spec, repeat=trial.repeat, attempt=attempt, sweep=self.name)
        except KeyboardInterrupt:
            row = self.harness.not_run(
                trial.spec, Reason.INTERRUPTED, "ended by the user",
                repeat=trial.repeat, attempt=attempt, sweep=self.name,
            )  # fmt: skip
            self.store.add(row)
            raise
        if row.outcome is Outcome.OOM:
            self._out_of_memory.append(trial.spec)
        self.store.add(row)
        self.listener.ended(row)
        return row
