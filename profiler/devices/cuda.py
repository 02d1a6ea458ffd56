"""A CUDA GPU as a device: allocator statistics, NVML samples and CUDA events."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from profiler.catalog.gpus import gpu_by_driver_name
from profiler.devices.host_memory import host_out_of_memory
from profiler.devices.nvml import GpuState, Sample, Sampler, gpu_state, is_busy, summarize, visible_gpu
from profiler.devices.protocol import Failure
from profiler.errors import NotPossibleError, first_line
from profiler.measurement import Outcome, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from profiler.devices.protocol import Watch
    from profiler.spec import TrialSpec

_Timer = TypeVar("_Timer", bound="EventTimer")
_ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

# Texts of errors that mean the card, not the trial, is the matter.
_LOST = ("ECC", "device is lost", "has fallen off the bus", "GPU is lost", "unspecified launch failure")


def allocator_variables(spec: TrialSpec | None) -> dict[str, str]:
    """Return the environment variables that give torch the allocator of a spec, the user's settings kept."""
    variables: dict[str, str] = {}
    if spec is not None and spec.allocator == "expandable":
        # The older name, where a user has set it, wins (c10/cuda/CUDAAllocatorConfig.h).
        for name in _ALLOCATOR_VARIABLES:
            if name == _ALLOCATOR_VARIABLES[0] or name in os.environ:
                given = [os.environ[name]] if os.environ.get(name) else []
                variables[name] = ",".join([*given, "expandable_segments:True"])
    return variables


def user_allocator_settings() -> str | None:
    """Return what the user has set of torch's allocator in the environment, or None."""
    return (
        " ".join(f"{name}={os.environ[name]}" for name in _ALLOCATOR_VARIABLES if name in os.environ) or None
    )


class CudaDevice:
    """One NVIDIA GPU.

    Args:
        index: Which of the GPUs that `CUDA_VISIBLE_DEVICES` shows, in its order; without that variable,
            which by bus order. The trial's process sees this GPU alone.
    """

    name_in_trial = "cuda:0"
    origin = "measured"
    forks = False  # a forked process cannot use CUDA once its parent has touched the driver

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.name = f"cuda:{index}"

    def child_environment(self, spec: TrialSpec | None) -> dict[str, str]:
        """Return the variables that show one GPU, by the driver's order, and set the allocator."""
        place = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": self._visible_name()}
        return {**place, **allocator_variables(spec)}

    def _state(self) -> GpuState:
        return gpu_state(visible_gpu(self.index))

    def _visible_name(self) -> str:
        # The UUID names the same card whatever the order; without it, the index by bus order does.
        state = self._state()
        return state.uuid or str(state.index)

    def facts(self) -> dict[str, Any]:
        """Return name, UUID, driver, memory and power limit of the card, and the user's allocator settings.

        Raises:
            NotPossibleError: If there is no driver or no such card.
        """
        state = self._state()
        return {
            "device_name": state.name,
            "device_uuid": state.uuid,
            "driver_version": state.driver_version,
            "device_memory_bytes": state.memory_total_bytes,
            "power_limit_watts": state.power_limit_watts,
            "allocator_settings": user_allocator_settings(),
        }

    def torch_device(self) -> torch.device:
        """Return torch's `cuda:0`, the one card this process sees.

        Raises:
            NotPossibleError: If torch cannot use the card; it says why.
        """
        import torch

        if torch.version.cuda is None:
            raise NotPossibleError(f"torch {torch.__version__} is a CPU build: install a CUDA build of torch")
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
            torch.cuda.get_device_properties(0)
        except (RuntimeError, AssertionError) as error:
            raise NotPossibleError(f"torch cannot use {self.name}: {first_line(error)}") from None
        return torch.device("cuda", 0)

    def synchronize(self) -> None:
        """Wait for the card."""
        import torch

        torch.cuda.synchronize()

    def empty_cache(self) -> None:
        """Free the unused segments of the caching allocator."""
        import torch

        torch.cuda.empty_cache()

    def meter(self) -> CudaMeter:
        """Return a new meter; it samples NVML from now on."""
        return CudaMeter(self._state())

    def sampler(self, process_id: int) -> Sampler:
        """Return a sampler of the card and of what a process holds on it; it samples from now on."""
        return Sampler(self._state().index, process_id)

    def peak_flops_per_second(self, precision: str) -> float | None:
        """Return the catalogue's dense peak of this card; None for a card that it does not know."""
        state = self._state()
        if state.memory_total_bytes is None:
            return None
        facts = gpu_by_driver_name(state.name, state.memory_total_bytes / 2**20)
        if facts is None:
            return None
        peaks = {"bf16": facts.bf16_tflops_dense, "fp16": facts.fp16_tflops_dense, "fp32": facts.fp32_tflops}
        tflops = peaks[precision.removeprefix("amp-")]
        return tflops * 1e12 if tflops is not None else None

    def failure(self, error: BaseException) -> Failure | None:
        """Recognise memory the card or the host did not give, cuBLAS without workspace, and a lost card."""
        import torch

        message = str(error)
        said = first_line(error).partition(" If reserved but unallocated")[0]  # advice, the same for everyone
        if isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in message:
            return Failure(
                outcome=Outcome.OOM,
                reason=Reason.CUDA_OOM,
                message=said,
                figures={**_requested_bytes(message), **_held_bytes(message, torch)},
            )
        if "CUBLAS_STATUS_ALLOC_FAILED" in message or "CUBLAS_STATUS_NOT_INITIALIZED" in message:
            # cuBLAS takes its workspace and handles from the driver: this, too, is memory running out.
            return Failure(
                outcome=Outcome.OOM,
                reason=Reason.CUBLAS_ALLOC,
                message=said,
                figures=_held_bytes(message, torch),
            )
        if any(text in message for text in _LOST):
            return Failure(outcome=Outcome.FAILED, reason=Reason.DEVICE_LOST, message=said)
        return host_out_of_memory(error)


def _bytes_in(message: str, pattern: str) -> int | None:
    """Read an amount from torch's message, which rounds it, such as "2.00 GiB"."""
    found = re.search(pattern.replace("AMOUNT", r"([\d.]+) (bytes|KiB|MiB|GiB|TiB)"), message)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _requested_bytes(message: str) -> dict[str, int]:
    requested = _bytes_in(message, "Tried to allocate AMOUNT")
    return {} if requested is None else {"oom_requested_bytes": requested}


def _held_bytes(message: str, torch: Any) -> dict[str, int]:
    """Return what was held when memory ran out.

    The message was written at that moment; by the time Python has the exception, C++ has freed what the
    failed call held. Where it does not say, the allocator's counters of now have to do.
    """
    allocated = _bytes_in(message, "AMOUNT is allocated by PyTorch")
    unallocated = _bytes_in(message, "AMOUNT is reserved by PyTorch but unallocated")
    if allocated is not None and unallocated is not None:
        return {"oom_allocated_bytes": allocated, "oom_reserved_bytes": allocated + unallocated}
    with contextlib.suppress(RuntimeError):  # a card that no longer answers
        return {
            "oom_allocated_bytes": torch.cuda.memory_allocated(),
            "oom_reserved_bytes": torch.cuda.memory_reserved(),
        }
    return {}


class CudaMeter:
    """Figures of one trial on a GPU.

    Peaks are read and reset at each stage; the peak of the trial is the highest of all. `process` is what
    NVML says this process holds, or, where the driver does not tell processes apart, what the whole device
    holds above its idle state.
    """

    def __init__(self, idle: GpuState) -> None:
        """Start sampling.

        Args:
            idle: The card as it was before this process used it.
        """
        import torch

        self._cuda: Any = torch.cuda
        self._sampler = Sampler(idle.index, os.getpid())
        self._idle = idle
        self._figures: dict[str, Any] = {}
        self._peak_allocated = 0
        self._peak_reserved = 0
        self._window: tuple[float, float, int] | None = None

    def begin(self) -> None:
        """Start from nothing."""
        self._cuda.reset_peak_memory_stats()

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """Measure the peak of loading."""
        with self._phase(Phase.LOAD):
            yield

    @contextlib.contextmanager
    def _phase(self, phase: Phase) -> Iterator[None]:
        """Measure the peak between two waits for the device; for passes that are not timed."""
        self._cuda.synchronize()
        self._take_peaks()
        yield
        self._cuda.synchronize()
        for tier, peak in zip(("allocated", "reserved"), self._take_peaks(), strict=True):
            name = f"{phase}_peak_{tier}_bytes"
            self._figures[name] = max(peak, self._figures.get(name, 0))

    def _take_peaks(self) -> tuple[int, int]:
        """Read the peaks since the last time, and start anew."""
        allocated, reserved = self._cuda.max_memory_allocated(), self._cuda.max_memory_reserved()
        self._cuda.reset_peak_memory_stats()
        self._peak_allocated = max(self._peak_allocated, allocated)
        self._peak_reserved = max(self._peak_reserved, reserved)
        return allocated, reserved

    def end_warmup(self) -> None:
        """Keep the peaks of warm-up, which hold cuBLAS workspaces and what autotuning takes."""
        self._cuda.synchronize()
        allocated, reserved = self._take_peaks()
        self._figures["warmup_peak_allocated_bytes"] = allocated
        self._figures["warmup_peak_reserved_bytes"] = reserved

    def timing(self) -> contextlib.AbstractContextManager[EventTimer]:
        """Time steps by CUDA events."""
        return self._timing(EventTimer(self._cuda))

    @contextlib.contextmanager
    def _timing(self, timer: _Timer) -> Iterator[_Timer]:
        self._cuda.synchronize()
        started = time.monotonic()
        yield timer
        self._cuda.synchronize()
        self._window = (started, time.monotonic(), len(timer.host_seconds()))
        self._take_peaks()
        self._figures["resident_bytes"] = self._cuda.memory_allocated()

    @contextlib.contextmanager
    def phase_pass(self) -> Iterator[Watch]:
        """Measure each phase between two waits for the device."""
        yield self._phase

    def figures(self) -> dict[str, Any]:
        """Return what was measured; ends the sampling."""
        self._cuda.synchronize()
        self._take_peaks()
        figures = {
            **self._figures,
            "peak_allocated_bytes": self._peak_allocated,
            "peak_reserved_bytes": self._peak_reserved,
            "alloc_retries": self._cuda.memory_stats().get("num_alloc_retries"),
        }
        samples = self._sampler.stop()
        if self._window is not None:
            started, ended, steps = self._window
            figures |= summarize(samples, started_seconds=started, ended_seconds=ended, steps=steps)
            if (busy := is_busy(samples, len(self._idle.processes))) is not None:
                figures["device_busy"] = busy
        figures |= process_figures(samples, self._cuda.memory_reserved(), self._idle)
        return figures

    def notes(self) -> Sequence[str]:
        """Return nothing: the figures say it all."""
        return []


def process_figures(samples: Sequence[Sample], reserved_bytes: int, idle: GpuState) -> dict[str, int]:
    """Return the peak of the process on the device, and its context: what it holds beyond its segments.

    The context grows as kernels are first used, so it is taken at the end: the last sample less the segments
    at that time. Without figures per process, the device's use above idle stands for it, unless another
    process was there.

    Args:
        samples: In order of time.
        reserved_bytes: What the segments hold at the end.
        idle: The card before the trial.
    """
    per_process = [s.process_used_bytes for s in samples if s.process_used_bytes is not None]
    idle_bytes = idle.memory_used_bytes
    if not per_process and idle_bytes is not None and not is_busy(samples, len(idle.processes)):
        per_process = [s.device_used_bytes - idle_bytes for s in samples if s.device_used_bytes is not None]
    if not per_process or max(per_process) <= 0:
        return {}
    figures = {"peak_process_bytes": max(per_process)}
    if (context := per_process[-1] - reserved_bytes) > 0:
        figures["context_bytes"] = context
    return figures


class EventTimer:
    """Times steps on the device by CUDA events, and on the host by the wall clock; waits only at the end."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._events: list[tuple[Any, Any]] = []
        self._host: list[float] = []
        self._host_start = 0.0

    def start_step(self) -> None:
        """Put an event into the stream."""
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        self._events.append((start, end))
        self._host_start = time.perf_counter()
        start.record()

    def end_step(self) -> None:
        """Put an event into the stream."""
        self._events[-1][1].record()
        self._host.append(time.perf_counter() - self._host_start)

    def step_seconds(self) -> Sequence[float]:
        """Wait for the device, and return the time of each step between its events."""
        self._cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in self._events]  # CUDA counts in milliseconds

    def host_seconds(self) -> Sequence[float]:
        """Return the time the host took to issue each step."""
        return self._host
