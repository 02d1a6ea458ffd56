"""NVML, wrapped once: what a GPU is, and a sampler that watches it from a process of its own.

Used through `nvidia-ml-py` (imported as `pynvml`). A query that a card, driver or container does not support
is None, never a number.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SAMPLE_SECONDS = 0.01

# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h) that mean clocks below what was asked for: software
# power cap, hardware slowdown, software and hardware thermal slowdown, hardware power brake. Left out are
# idle, application clocks, sync boost and display clock settings, which are choices and no throttling.
THROTTLE_REASONS = 0x4 | 0x8 | 0x20 | 0x40 | 0x80


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """One GPU as the driver describes it; None where it does not say."""

    index: int
    name: str
    uuid: str | None
    driver_version: str | None
    memory_total_bytes: int | None
    memory_used_bytes: int | None
    power_limit_watts: float | None
    sm_clock_mhz: int | None
    max_sm_clock_mhz: int | None
    temperature_celsius: int | None
    processes: tuple[int, ...]
    """Ids of the processes that compute on it."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at the GPU; times are `time.monotonic()` of the host."""

    monotonic_seconds: float
    device_used_bytes: int | None = None
    process_used_bytes: int | None = None
    process_count: int | None = None
    """How many processes compute on the GPU, this one included."""
    utilization_percent: int | None = None
    power_watts: float | None = None
    sm_clock_mhz: int | None = None
    temperature_celsius: int | None = None
    throttle_reasons: int | None = None


def gpu_state(index: int) -> GpuState:
    """Return the state of the GPU with this NVML index.

    Raises:
        NotPossibleError: If there is no driver, no library, or no such GPU.
    """
    with open_nvml() as nvml:
        handle = gpu_handle(nvml, index)
        memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        limit_milliwatts = _ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        return GpuState(
            index=index,
            name=_text(nvml.nvmlDeviceGetName(handle)),
            uuid=_text(_ask(nvml, nvml.nvmlDeviceGetUUID, handle)),
            driver_version=_text(_ask(nvml, nvml.nvmlSystemGetDriverVersion)),
            memory_total_bytes=memory.total if memory else None,
            memory_used_bytes=memory.used if memory else None,
            power_limit_watts=limit_milliwatts / 1000 if limit_milliwatts is not None else None,
            sm_clock_mhz=_ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            max_sm_clock_mhz=_ask(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
            temperature_celsius=_ask(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            processes=tuple(process.pid for process in _processes(nvml, handle) or ()),
        )


def gpu_count() -> int:
    """Return the number of GPUs the driver knows.

    Raises:
        NotPossibleError: If there is no driver or library.
    """
    with open_nvml() as nvml:
        return int(nvml.nvmlDeviceGetCount())


def visible_gpu(position: int) -> int:
    """Return the NVML index of the GPU that CUDA calls `position` under `CUDA_VISIBLE_DEVICES`.

    Indices in the variable are taken by bus order (`CUDA_DEVICE_ORDER=PCI_BUS_ID`), which is NVML's.

    Raises:
        NotPossibleError: If the variable shows no such GPU, or names one that the driver does not know.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return position
    names = [name.strip() for name in variable.split(",") if name.strip() not in ("", "-1")]
    if position >= len(names):
        raise NotPossibleError(f"CUDA_VISIBLE_DEVICES={variable!r} shows no GPU {position}")
    if names[position].isdigit():
        return int(names[position])
    for index in range(gpu_count()):
        if (gpu_state(index).uuid or "").startswith(names[position]):
            return index
    raise NotPossibleError(f"CUDA_VISIBLE_DEVICES names {names[position]}, which the driver does not know")


@contextlib.contextmanager
def open_nvml() -> Iterator[Any]:
    """Give the library `pynvml`, ready to be asked.

    Raises:
        NotPossibleError: If there is no driver or library.
    """
    try:
        import pynvml
    except ImportError:
        raise NotPossibleError("nvidia-ml-py (pynvml) is not installed, so no GPU can be found") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NotPossibleError(f"no NVIDIA driver answers: {error}") from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def gpu_handle(nvml: Any, index: int) -> Any:
    """Return NVML's handle of the GPU with this index.

    Raises:
        NotPossibleError: If there is no such GPU.
    """
    try:
        return nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:
        count = nvml.nvmlDeviceGetCount()
        raise NotPossibleError(f"there is no GPU {index}: the driver knows {count}") from None


def _ask(nvml: Any, query: Callable[..., Any], *arguments: Any) -> Any:
    """Return the answer, or None where this card or driver has none."""
    try:
        return query(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _processes(nvml: Any, handle: Any) -> list[Any] | None:
    processes = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return None if processes is None else list(processes)


def take_sample(nvml: Any, handle: Any, process_id: int) -> Sample:
    """Look at a GPU once, for a process and what runs beside it."""
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    processes = _processes(nvml, handle)
    own = [process for process in processes or () if process.pid == process_id]
    utilization = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or getattr(
        nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None
    )
    return Sample(
        monotonic_seconds=time.monotonic(),
        device_used_bytes=memory.used if memory else None,
        # In a container or under WSL the driver hides process ids or memory: then only the device's is known.
        process_used_bytes=own[0].usedGpuMemory if own else None,
        process_count=None if processes is None else len(processes),
        utilization_percent=utilization.gpu if utilization else None,
        power_watts=milliwatts / 1000 if milliwatts is not None else None,
        sm_clock_mhz=_ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        temperature_celsius=_ask(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        throttle_reasons=_ask(nvml, reasons, handle) if reasons else None,
    )


def summarize(
    samples: Sequence[Sample], *, started_seconds: float, ended_seconds: float, steps: int
) -> dict[str, Any]:
    """Return the figures of power and clocks in a time window; what no sample knows is left out.

    Args:
        samples: In order of time.
        started_seconds: Start of the timed steps, by `time.monotonic()`.
        ended_seconds: Their end.
        steps: How many there were, to share the energy between.
    """
    window = [s for s in samples if started_seconds <= s.monotonic_seconds <= ended_seconds]
    figures: dict[str, Any] = {}
    if power := [s.power_watts for s in window if s.power_watts is not None]:
        figures["power_watts_mean"] = statistics.fmean(power)
        figures["energy_joules_per_step"] = (
            statistics.fmean(power) * (ended_seconds - started_seconds) / steps
        )
    if clocks := [s.sm_clock_mhz for s in window if s.sm_clock_mhz is not None]:
        figures["sm_clock_mhz_median"] = float(statistics.median(clocks))
    if temperatures := [s.temperature_celsius for s in window if s.temperature_celsius is not None]:
        figures["temperature_celsius_max"] = float(max(temperatures))
    if reasons := [s.throttle_reasons for s in window if s.throttle_reasons is not None]:
        figures["throttled"] = any(reason & THROTTLE_REASONS for reason in reasons)
    return figures


def is_busy(samples: Sequence[Sample], processes_before: int) -> bool | None:
    """Whether another process used the GPU: one that was there before, or more than one newcomer.

    Counted, not named: in a container the driver tells process ids of the host, and ours is not among them.
    None where the driver tells nothing of processes.
    """
    counts = [s.process_count for s in samples if s.process_count is not None]
    return processes_before > 0 or max(counts) > 1 if counts else None


class Sampler:
    """Samples a GPU every 10 ms from a process of its own, so that the trial does not pay for it.

    The process ends with its standard input, so it cannot outlive the trial.
    """

    def __init__(self, index: int, process_id: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "profiler.devices.nvml_sampler", str(index), str(process_id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._samples: list[Sample] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> list[Sample]:
        """End the sampling and return every sample; none where NVML does not answer."""
        if self._samples is None:
            try:
                out, _ = self._process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                out, _ = self._process.communicate()
            self._samples = []
            for line in out.splitlines():
                with contextlib.suppress(ValueError, TypeError):  # the last line of a killed sampler
                    self._samples.append(Sample(**json.loads(line)))
        return self._samples
