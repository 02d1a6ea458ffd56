"""Trials on a virtual GPU for the benchmarks: a protocol without times, and the peaks that engines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profiler.devices.virtual import VirtualDevice
from profiler.harness import Harness, MeasurementProtocol

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts
    from profiler.measurement import Measurement
    from profiler.spec import TrialSpec

UNLIMITED_BYTES = 2**43
"""Memory of a card that nothing fills: 8 TiB, which are address space only."""

_TIMEOUT_SECONDS = 900.0


def memory_protocol(steps: int) -> MeasurementProtocol:
    """Return a protocol whose warm-up is exactly `steps` steps, with as little as possible after it."""
    return MeasurementProtocol(
        warmup_min_steps=steps,
        warmup_min_seconds=0,
        warmup_max_seconds=_TIMEOUT_SECONDS,  # never cuts the steps short: the trial would have ended
        timed_min_steps=3,
        timed_min_seconds=0,
        count_flops=False,
        timeout_seconds=_TIMEOUT_SECONDS,
    )


def measure(
    spec: TrialSpec, gpu: GpuFacts, *, steps: int, memory_bytes: int | None = UNLIMITED_BYTES
) -> Measurement:
    """Measure a trial on a virtual GPU.

    Args:
        spec: The trial.
        gpu: The GPU.
        steps: Steps of the warm-up.
        memory_bytes: What the card has; None gives it what the catalogue says.

    Raises:
        SizeupError: If there can be no such virtual GPU here.
    """
    device = VirtualDevice(gpu.id, memory_bytes=memory_bytes)
    with Harness(device, memory_protocol(steps)) as harness:
        return harness.measure(spec)


def peak_bytes(measurement: Measurement, tier: str) -> int:
    """Return the peak of a tier, `allocated` or `reserved`, over loading and the steps of the warm-up."""
    return max(measurement.figures[f"{stage}_peak_{tier}_bytes"] for stage in ("load", "warmup"))


def step_peak_bytes(measurement: Measurement, tier: str) -> int:
    """Return the peak of a tier in the steps that find the peaks of phases, which come after all others."""
    figures = measurement.figures
    return max(figures[f"{phase}_peak_{tier}_bytes"] for phase in ("forward", "backward", "optimizer"))
