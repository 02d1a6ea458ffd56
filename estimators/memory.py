"""What a ledger means on a GPU: peaks, whether it fits, what the peak is made of, and how sure that is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.allocator import EMPTY_CACHE, Replay, replay
from estimators.ledger import Ledger, Owner
from estimators.residuals import Residuals, memory_residuals
from profiler.catalog.gpu_memory import GpuMemory, gpu_memory
from profiler.measurement import Phase

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec


class Verdict(enum.StrEnum):
    """Whether a trial fits on a GPU."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where in a trial something happens."""

    phase: Phase
    step: int
    module: str
    """Path of the module at work; empty for the model itself."""


@dataclass(frozen=True, kw_only=True)
class OutOfMemoryAt:
    """The allocation that fails first."""

    moment: Moment
    bytes: int
    """What the allocator asked of the device."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """The memory of a trial on a GPU, in bytes. The three tiers are never compared with each other."""

    verdict: Verdict
    fits_only_with_retries: bool
    """Whether it fits only because the allocator gives its cache back when memory is short."""
    failed_at: OutOfMemoryAt | None
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    peak_process_bytes: int
    """Reserved memory and the CUDA context, without a limit of the card."""
    interval_process_bytes: tuple[int, int]
    interval_level: float
    breakdown_bytes: dict[str, int]
    """What `peak_process_bytes` is made of: the owners of tensors, fragmentation, and the context."""
    peak_at: Moment
    phase_peaks_bytes: dict[str, int]
    """Peak of allocated memory in each phase, over all steps."""
    step_peaks_reserved_bytes: tuple[int, ...]
    """Peak of reserved memory in each step: what varying lengths make of it."""
    gpu_memory: GpuMemory
    residuals: Residuals


def estimate_memory(ledger: Ledger, spec: TrialSpec, gpu: GpuFacts) -> MemoryEstimate:
    """Replay a ledger on a GPU.

    Raises:
        NotPossibleError: If nothing is known of the GPU's memory.
    """
    card, residuals = gpu_memory(gpu), memory_residuals()
    free = _replayed(ledger, spec)
    reserved = free.peak_reserved_bytes
    verdict, capped = _verdict(ledger, spec, card, residuals, reserved)
    low, high = card.context_bytes_range
    return MemoryEstimate(
        verdict=verdict,
        fits_only_with_retries=verdict is Verdict.FITS and capped is not None and capped.retries > 0,
        failed_at=_failure(ledger, capped) if verdict is not Verdict.FITS else None,
        peak_allocated_bytes=free.peak_allocated_bytes,
        peak_reserved_bytes=reserved,
        peak_process_bytes=reserved + card.context_bytes,
        interval_process_bytes=(
            round(reserved * (1 + residuals.low)) + low,
            round(reserved * (1 + residuals.high)) + high,
        ),
        interval_level=residuals.level,
        breakdown_bytes={**_breakdown(ledger, free), "context": card.context_bytes},
        peak_at=moment(ledger, free.peak_allocated_event or 0),
        phase_peaks_bytes=_phase_peaks(ledger, free),
        step_peaks_reserved_bytes=_step_peaks(ledger, free),
        gpu_memory=card,
        residuals=residuals,
    )


def fits(ledger: Ledger, spec: TrialSpec, gpu: GpuFacts, *, reserved_bytes: int | None = None) -> Verdict:
    """Return only whether a ledger fits, which is less work than the whole estimate.

    Args:
        ledger: What is allocated.
        spec: The trial.
        gpu: The GPU.
        reserved_bytes: What `peak_reserved_bytes` returns, if it is known already.

    Raises:
        NotPossibleError: As `estimate_memory`.
    """
    if reserved_bytes is None:
        reserved_bytes = peak_reserved_bytes(ledger, spec)
    return _verdict(ledger, spec, gpu_memory(gpu), memory_residuals(), reserved_bytes)[0]


def peak_tensor_bytes(ledger: Ledger) -> int:
    """Return the most bytes that tensors held at once, as the CPU's peak of allocated memory is defined."""
    events = ledger.events[ledger.events != EMPTY_CACHE]
    born = events >= 0
    change = np.where(born, ledger.sizes[np.where(born, events, ~events)], 0)
    change -= np.where(born, 0, ledger.sizes[np.where(born, 0, ~events)])
    return int(np.cumsum(change).max(initial=0))


def peak_reserved_bytes(ledger: Ledger, spec: TrialSpec) -> int:
    """Return the peak of reserved memory without a limit of the card."""
    return _replayed(ledger, spec).peak_reserved_bytes


def moment(ledger: Ledger, event: int) -> Moment:
    """Return the phase, step and module of an event."""
    mark, value = ledger.mark_of(event), int(ledger.events[event])
    module = ledger.modules[ledger.tensor_modules[value]] if value >= 0 else ""
    return Moment(phase=mark.phase, step=mark.step, module=module)


def _replayed(ledger: Ledger, spec: TrialSpec, capacity: int | None = None) -> Replay:
    return replay(
        ledger.events,
        ledger.sizes,
        capacity_bytes=capacity,
        expandable_segments=spec.allocator == "expandable",
        marks=[mark.event for mark in ledger.marks[1:]],
    )


def _verdict(
    ledger: Ledger, spec: TrialSpec, card: GpuMemory, residuals: Residuals, reserved: int
) -> tuple[Verdict, Replay | None]:
    """Return the verdict, and the capped replay it rests on; None where the uncapped one leaves no doubt.

    A real run may need as much more as the engine has been wrong, which is the same as having so much less.
    """
    least, most = card.room_bytes_range
    if reserved * (1 + residuals.high) <= least:
        return Verdict.FITS, None
    cautious = _replayed(ledger, spec, int(least / (1 + residuals.high)))
    if cautious.failed_event is None:
        return Verdict.FITS, cautious
    hopeful = _replayed(ledger, spec, int(most / (1 + residuals.low)))
    if hopeful.failed_event is None:
        return Verdict.CANNOT_TELL, cautious
    return Verdict.DOES_NOT_FIT, hopeful


def _failure(ledger: Ledger, capped: Replay | None) -> OutOfMemoryAt | None:
    if capped is None or capped.failed_event is None:
        return None
    return OutOfMemoryAt(moment=moment(ledger, capped.failed_event), bytes=capped.failed_request_bytes or 0)


def _breakdown(ledger: Ledger, free: Replay) -> dict[str, int]:
    """Return the bytes of each owner at the peak of allocated memory, and what is reserved beyond them.

    Reserved memory may reach its peak later, when little is allocated: what was cached then does not fit
    what is asked for. The moment to look at is the one that filled the segments.
    """
    live = ledger.live_tensors(free.peak_allocated_event or 0)
    sizes, owners = ledger.sizes[live], ledger.owners[live]
    parts = {owner.name.lower(): int(sizes[owners == owner].sum()) for owner in Owner}
    parts["fragmentation"] = free.peak_reserved_bytes - sum(parts.values())
    return parts


def _step_peaks(ledger: Ledger, free: Replay) -> tuple[int, ...]:
    peaks: dict[int, int] = {}
    for mark, phase in zip(ledger.marks, free.phases, strict=True):
        if mark.phase in (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER):
            peaks[mark.step] = max(peaks.get(mark.step, 0), phase.reserved_bytes)
    return tuple(peaks.values())


def _phase_peaks(ledger: Ledger, free: Replay) -> dict[str, int]:
    peaks: dict[str, Any] = {}
    for mark, phase in zip(ledger.marks, free.phases, strict=True):
        peaks[mark.phase] = max(peaks.get(mark.phase, 0), phase.allocated_bytes)
    return peaks
