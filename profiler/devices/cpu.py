"""The CPU as a device: tensor bytes as torch's allocator reports them, and the process's resident set."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from profiler.devices.host_memory import host_out_of_memory
from profiler.devices.procfs import reset_peak_resident, status_bytes
from profiler.devices.tensor_bytes import TensorBytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from profiler.devices.protocol import Failure, Watch
    from profiler.spec import TrialSpec

# One arena and a fixed mmap threshold: freed tensors go back to the kernel at once, so the resident set
# follows the tensors. It brings the spread of a 135M model between processes from 6 % to 0.04 %.
ALLOCATOR_SETTINGS = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}

# Share of the machine's CPU time taken by others from which a trial counts as disturbed.
_BUSY_SHARE = 0.1


class CpuDevice:
    """The processors and memory of this machine."""

    name = "cpu"
    name_in_trial = "cpu"
    origin = "measured"
    forks = hasattr(os, "fork")

    def child_environment(self, spec: TrialSpec | None) -> dict[str, str]:
        """Return the allocator settings; `CUDA_VISIBLE_DEVICES` keeps CUDA out of a CPU trial."""
        return {**ALLOCATOR_SETTINGS, "CUDA_VISIBLE_DEVICES": ""}

    def facts(self) -> dict[str, Any]:
        """Return the processor (the host's facts name it) and the allocator settings."""
        from profiler.environment import cpu_model

        return {
            "device_name": cpu_model(),
            "allocator_settings": " ".join(f"{name}={value}" for name, value in ALLOCATOR_SETTINGS.items()),
        }

    def torch_device(self) -> torch.device:
        """Return torch's `cpu`."""
        import torch

        return torch.device("cpu")

    def synchronize(self) -> None:
        """Do nothing: operators return when they are done."""

    def empty_cache(self) -> None:
        """Do nothing: the host's allocator keeps no cache of torch's."""

    def meter(self) -> CpuMeter:
        """Return a new meter."""
        return CpuMeter()

    def peak_flops_per_second(self, precision: str) -> float | None:
        """Return nothing: what a processor can do at most is in no catalogue of ours."""
        return None

    def failure(self, error: BaseException) -> Failure | None:
        """Recognise memory that the host did not give."""
        return host_out_of_memory(error)


class CpuMeter:
    """Figures of one CPU trial.

    `allocated` is what torch's CPU allocator has handed out, `process` the resident set above its baseline.
    There is no reserved memory and no context on a CPU.
    """

    def __init__(self) -> None:
        self._tensors = TensorBytes()
        self._figures: dict[str, Any] = {}
        self._baseline: int | None = None
        self._peak_process: list[int] = []

    def begin(self) -> None:
        """Take the resident set as the baseline, after the profiler has made what it keeps."""
        with self._tensors.recording():
            pass
        reset_peak_resident()
        self._baseline = status_bytes("VmRSS")

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """Count the tensor bytes of loading, from none."""
        with self._tensors.recording() as recorded:
            yield
        self._figures["load_peak_allocated_bytes"] = recorded.peak_bytes(base_bytes=0)
        self._keep_peak_process()

    def _keep_peak_process(self) -> None:
        peak = status_bytes("VmHWM")
        if peak is not None and self._baseline is not None:
            self._peak_process.append(peak - self._baseline)

    def end_warmup(self) -> None:
        """Keep the highest resident set up to here."""
        self._keep_peak_process()
        if self._peak_process:
            self._figures["warmup_peak_process_bytes"] = max(self._peak_process)
        reset_peak_resident()

    @contextlib.contextmanager
    def timing(self) -> Iterator[WallTimer]:
        """Time steps by the wall clock, and see whether others used the processors."""
        import psutil

        before, own_before, started = psutil.cpu_times(), time.process_time(), time.perf_counter()
        yield WallTimer()
        after, own = psutil.cpu_times(), time.process_time() - own_before
        busy = _busy_seconds(after) - _busy_seconds(before)
        capacity = (time.perf_counter() - started) * (psutil.cpu_count() or 1)
        self._figures["device_busy"] = (busy - own) / capacity > _BUSY_SHARE
        self._keep_peak_process()

    @contextlib.contextmanager
    def phase_pass(self) -> Iterator[Watch]:
        """Record the allocator's reports, and split them by phase."""
        self._keep_peak_process()  # before the recording itself takes memory
        base_bytes = self._tensors.live_bytes()
        with self._tensors.recording() as recorded:
            yield self._tensors.phase
        # Some methods replace tensors of theirs in each step (AdaLoRA its importances). The allocator is
        # silent about those from before, so what is missing at the end is taken off the start.
        excess_bytes = recorded.final_bytes(base_bytes=base_bytes) - self._tensors.live_bytes()
        base_bytes -= max(0, excess_bytes)
        peaks = recorded.phase_peaks_bytes(base_bytes=base_bytes)
        self._figures.update({f"{phase}_peak_allocated_bytes": peak for phase, peak in peaks.items()})
        self._figures["resident_bytes"] = recorded.final_bytes(base_bytes=base_bytes)

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        figures = dict(self._figures)
        allocated = [peak for name, peak in figures.items() if name.endswith("_peak_allocated_bytes")]
        if "resident_bytes" in figures:
            figures["peak_allocated_bytes"] = max(allocated)
        if self._peak_process:
            figures["peak_process_bytes"] = max(self._peak_process)
        return figures

    def notes(self) -> Sequence[str]:
        """Return nothing: the figures say it all."""
        return []


def _busy_seconds(times: Any) -> float:
    """Sum the times of all processors at work: not idle, not waiting for a disk, guests counted once."""
    not_busy = ("idle", "iowait", "guest", "guest_nice")  # user and nice hold those of guests
    return float(sum(times) - sum(getattr(times, name, 0.0) for name in not_busy))


class WallTimer:
    """Times steps where the host does the work itself."""

    def __init__(self) -> None:
        self._started: list[float] = []
        self._ended: list[float] = []

    def start_step(self) -> None:
        """Read the clock."""
        self._started.append(time.perf_counter())

    def end_step(self) -> None:
        """Read the clock."""
        self._ended.append(time.perf_counter())

    def step_seconds(self) -> Sequence[float]:
        """Return the time of each step."""
        return [end - start for start, end in zip(self._started, self._ended, strict=True)]

    def host_seconds(self) -> Sequence[float]:
        """Return nothing: host and device are one."""
        return []
