"""One trial inside its own process: load, warm up, time, and then the passes that are not timed."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any

from profiler.devices import find_device
from profiler.errors import NotPossibleError, UnreachableError, first_line
from profiler.harness.flops import count_flops
from profiler.harness.statistics import is_stable, summarize_steps
from profiler.measurement import Outcome, Phase, Reason
from profiler.parameters import count_parameters
from profiler.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from profiler.devices.protocol import Device, Meter, Watch
    from profiler.harness.messages import Reporter, TrialRequest
    from profiler.workload.step import StepCount

# A step of a list of lengths is a shape of its own; more distinct ones than this are not all visited by the
# pass that finds the peaks.
_MOST_PHASE_STEPS = 64


def run_trial(request: TrialRequest, report: Reporter) -> None:
    """Run one trial and report what became of it as the event `result`."""
    run = _Run(request, report)
    try:
        figures = run.measure()
        result: dict[str, Any] = {"outcome": Outcome.OK, "figures": figures, "step_seconds": run.step_seconds}
        if run.notes:
            result["message"] = "; ".join(run.notes)
    except BaseException as error:
        result = _failure(error, run)
    report("result", **result)


def _failure(error: BaseException, run: _Run) -> dict[str, Any]:
    facts = {"phase": run.phase}
    if (known := run.device.failure(error)) is not None:
        return {**facts, "outcome": known.outcome, "reason": known.reason, "message": known.message,
                "figures": known.figures}  # fmt: skip
    reason = Reason.ERROR
    if isinstance(error, NotPossibleError | NotImplementedError) or _no_kernel(error):
        reason = Reason.NOT_POSSIBLE
    elif isinstance(error, UnreachableError):
        reason = Reason.UNREACHABLE
    elif isinstance(error, KeyboardInterrupt):
        reason = Reason.INTERRUPTED
    message = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, NotPossibleError | UnreachableError):
        message = f"{type(error).__name__}: {message}"
    return {**facts, "outcome": Outcome.FAILED, "reason": reason, "message": message[:2000]}


def _no_kernel(error: BaseException) -> bool:
    """Whether torch has no implementation for what was asked, which no second attempt changes."""
    message = str(error)
    return isinstance(error, RuntimeError) and (
        "not implemented for" in message
        or "No viable backend" in message
        or "No available kernel" in message
        or "no kernel image is available" in message  # torch was built without this card's architecture
    )


class _Run:
    """The stages of one trial, and where it stands."""

    def __init__(self, request: TrialRequest, report: Reporter) -> None:
        self.spec, self.protocol = request.spec, request.protocol
        self.device: Device = find_device(request.device)
        self.phase = Phase.START
        self.step_seconds: list[float] = []
        self.notes: list[str] = []
        self._report = report
        self._counts: list[StepCount] = []
        self._tokens: list[int] = []  # of every step from the first, warm-up included

    def measure(self) -> dict[str, Any]:
        meter = self.device.meter()  # before torch makes its context on the device
        torch_device = self.device.torch_device()
        meter.begin()
        started = time.perf_counter()
        with self._watch(Phase.LOAD), meter.load():
            workload = Workload(self.spec, torch_device, empty_cache=self.device.empty_cache)
        figures: dict[str, Any] = {
            "load_seconds": time.perf_counter() - started,
            **count_parameters(workload.model),
        }
        warmup, stable = self._warm_up(workload, meter)
        figures |= {"warmup_steps": warmup, "warmup_stable": stable}
        figures |= self._time(workload, meter, first=warmup)
        self._find_peaks(workload, meter)
        figures |= meter.figures()
        if self.protocol.count_flops:
            figures |= self._count_flops(workload, figures)
        self.notes += meter.notes()
        return figures

    @contextlib.contextmanager
    def _watch(self, phase: Phase) -> Iterator[None]:
        """Keep the phase for the row of a failure, and tell the supervisor, in case nobody can ask later."""
        self.phase = phase
        self._report("phase", phase=phase)
        yield

    @contextlib.contextmanager
    def _watch_quietly(self, phase: Phase) -> Iterator[None]:
        """Keep the phase only: nothing is written while steps are timed."""
        self.phase = phase
        yield

    def _warm_up(self, workload: Workload, meter: Meter) -> tuple[int, bool]:
        """Run steps until their times settle; return how many, and whether they did."""
        protocol, started = self.protocol, time.perf_counter()
        seconds: list[float] = []
        while True:
            step_started = time.perf_counter()
            count = workload.step(len(seconds), self._watch if not seconds else self._watch_quietly)
            self._tokens.append(count.tokens or 0)
            self.device.synchronize()
            seconds.append(time.perf_counter() - step_started)
            self._report("progress", stage="warm-up", step=len(seconds))
            elapsed = time.perf_counter() - started
            is_out_of_time = len(seconds) >= 2 and elapsed >= protocol.warmup_max_seconds
            if len(seconds) < protocol.warmup_min_steps and not is_out_of_time:
                continue
            stable = is_stable(seconds, protocol.warmup_stable_cv)
            if stable or is_out_of_time or elapsed >= protocol.warmup_min_seconds:
                meter.end_warmup()
                return len(seconds), stable

    def _time(self, workload: Workload, meter: Meter, *, first: int) -> dict[str, Any]:
        protocol, started, index = self.protocol, time.perf_counter(), first
        self._report("progress", stage="timing", step=0)
        with meter.timing() as timer:
            while True:
                timer.start_step()
                self._counts.append(workload.step(index, self._watch_quietly))
                timer.end_step()
                index += 1
                done, elapsed = index - first, time.perf_counter() - started
                if done >= protocol.timed_min_steps and elapsed >= protocol.timed_min_seconds:
                    break
                if done >= 3 and elapsed >= protocol.timed_max_seconds:
                    break
        self._tokens += [count.tokens or 0 for count in self._counts]
        self.step_seconds = list(timer.step_seconds())
        figures: dict[str, Any] = {"steps_timed": len(self._counts)}
        if host := timer.host_seconds():
            figures["host_seconds_median"] = statistics.median(host)
        if self.step_seconds:
            figures |= summarize_steps(self.step_seconds) | self._throughput()
        return figures

    def _throughput(self) -> dict[str, float]:
        """Return what was trained per second, over all timed steps."""
        seconds = sum(self.step_seconds)
        figures = {"samples_per_second": sum(count.samples for count in self._counts) / seconds}
        if tokens := [count.tokens for count in self._counts if count.tokens is not None]:
            figures["tokens_per_second"] = sum(tokens) / seconds
        if nonpad := [count.tokens_nonpad for count in self._counts if count.tokens_nonpad is not None]:
            figures["tokens_per_second_nonpad"] = sum(nonpad) / seconds
        return figures

    def _find_peaks(self, workload: Workload, meter: Meter) -> None:
        # Once outside the pass: what the pass itself takes is in no figure of the process.
        self._evaluate_and_save(workload, self._watch)
        workload.rest()
        with meter.phase_pass() as measured:

            @contextlib.contextmanager
            def watch(phase: Phase) -> Iterator[None]:
                with self._watch(phase), measured(phase):
                    yield

            for index in self._phase_steps():
                workload.step(index, watch)
            self._evaluate_and_save(workload, watch)

    def _phase_steps(self) -> list[int]:
        """Return the steps that find the peaks, the one with most tokens among them."""
        steps = self.protocol.phase_steps
        if isinstance(self.spec.lengths, tuple):
            steps = min(max(steps, len(self.spec.lengths)), _MOST_PHASE_STEPS)
        indices = list(range(steps))
        if self.spec.lengths is not None and steps < len(self.spec.lengths):  # not every length has its step
            indices[-1] = self._tokens.index(max(self._tokens))
        return indices

    def _evaluate_and_save(self, workload: Workload, watch: Watch) -> None:
        if self.spec.evaluation_batch_size is not None:
            workload.evaluate(watch)
        if self.spec.save:
            workload.save(watch)

    def _count_flops(self, workload: Workload, figures: dict[str, Any]) -> dict[str, Any]:
        try:
            flops = count_flops(workload)
            peak = self.device.peak_flops_per_second(self.spec.precision)
        except Exception as error:  # counting is an extra: a trial that was measured stays measured
            self.notes.append(f"FLOPs were not counted: {type(error).__name__}: {first_line(error)}")
            return {}
        if flops is None:
            return {}
        counted: dict[str, Any] = {"flops_per_step": flops}
        # With recomputation the count is that of the hardware's work, not of the model's: no MFU.
        if peak is not None and self.spec.gradient_checkpointing == "none":
            counted["mfu"] = flops / figures["step_seconds_median"] / peak
        return counted
