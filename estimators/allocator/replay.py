"""Replays the allocations of a training step in the simulated allocator, for its peaks or where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from estimators.allocator.caching import CachingAllocator, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from estimators.allocator.blocks import Block

EMPTY_CACHE = -(2**31)
"""The event `torch.cuda.empty_cache()`: the smallest 32-bit integer, which frees no tensor."""


@dataclass(frozen=True, kw_only=True)
class PhasePeaks:
    """The peaks between two marks, in bytes; both begin at what the phase before left behind."""

    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a replay saw; if memory ran out, what it saw until then.

    Attributes:
        peak_allocated_bytes: The maximum of the allocated bytes.
        peak_allocated_event: The first event that reached it; None without any allocation.
        peak_reserved_bytes: The maximum of the reserved bytes.
        peak_reserved_event: The first event that reached it; None without any allocation.
        allocated_at_peak_reserved_bytes: What was allocated after that event.
        retries: How often memory was lacking until the cache was emptied.
        failed_event: The event that ran out of memory; None if all went well.
        failed_request_bytes: What it asked of the device; None if all went well.
        final_allocated_bytes: What is allocated at the end.
        final_reserved_bytes: What is reserved at the end.
        phases: The peaks of each phase, the one that ran out of memory included, those after it not.
    """

    peak_allocated_bytes: int
    peak_allocated_event: int | None
    peak_reserved_bytes: int
    peak_reserved_event: int | None
    allocated_at_peak_reserved_bytes: int
    retries: int
    failed_event: int | None
    failed_request_bytes: int | None
    final_allocated_bytes: int
    final_reserved_bytes: int
    phases: tuple[PhasePeaks, ...]


def replay(
    events: Sequence[int] | NDArray[np.integer],
    sizes: Sequence[int] | NDArray[np.integer],
    *,
    capacity_bytes: int | None = None,
    expandable_segments: bool = False,
    marks: Sequence[int] = (),
) -> Replay:
    """Replay allocations on one stream, beginning with an empty allocator.

    Args:
        events: In their order: v >= 0 allocates tensor v, v < 0 frees tensor ~v, `EMPTY_CACHE` empties the
            cache.
        sizes: The bytes of each tensor, at least 1.
        capacity_bytes: The memory that segments can take; None for no limit.
        expandable_segments: As `PYTORCH_ALLOC_CONF=expandable_segments:True`.
        marks: The events, in ascending order, at which a new phase begins; n marks divide into n + 1 phases.

    Raises:
        ValueError: If a tensor is allocated twice or freed without being allocated, has no size or one below
            1, or if the marks do not ascend within the events.
    """
    events = np.asarray(events).tolist()
    sizes = np.asarray(sizes).tolist()
    if events and max(events) >= len(sizes):
        raise ValueError(f"tensor {max(events)} has no size; there are {len(sizes)} sizes")
    bounds = [0, *marks, len(events)]
    if any(start > end for start, end in pairwise(bounds)):
        raise ValueError(f"marks must ascend from 0 to {len(events)}, the number of events")
    allocator = CachingAllocator(capacity_bytes=capacity_bytes, expandable_segments=expandable_segments)
    malloc, free = allocator.malloc, allocator.free
    blocks: dict[int, Block] = {}
    peak_allocated = peak_reserved = allocated_at_peak_reserved = 0
    peak_allocated_event = peak_reserved_event = failed_event = failed_request = None
    phases = []
    for start, end in pairwise(bounds):
        allocator.reset_peaks()
        try:
            for index, event in enumerate(events[start:end], start):
                if event >= 0:
                    if event in blocks:
                        raise ValueError(f"event {index} allocates tensor {event} a second time")
                    blocks[event] = malloc(sizes[event])
                    if allocator.peak_allocated_bytes > peak_allocated:
                        peak_allocated, peak_allocated_event = allocator.peak_allocated_bytes, index
                    if allocator.peak_reserved_bytes > peak_reserved:
                        peak_reserved, peak_reserved_event = allocator.peak_reserved_bytes, index
                        allocated_at_peak_reserved = allocator.allocated_bytes
                elif event != EMPTY_CACHE:
                    block = blocks.pop(~event, None)
                    if block is None:
                        raise ValueError(f"event {index} frees tensor {~event}, which is not allocated")
                    free(block)
                else:
                    allocator.empty_cache()
        except OutOfMemory as error:
            failed_event, failed_request = index, error.requested_bytes
        phases.append(
            PhasePeaks(
                allocated_bytes=allocator.peak_allocated_bytes, reserved_bytes=allocator.peak_reserved_bytes
            )
        )
        if failed_event is not None:
            break
    return Replay(
        peak_allocated_bytes=peak_allocated,
        peak_allocated_event=peak_allocated_event,
        peak_reserved_bytes=peak_reserved,
        peak_reserved_event=peak_reserved_event,
        allocated_at_peak_reserved_bytes=allocated_at_peak_reserved,
        retries=allocator.retries,
        failed_event=failed_event,
        failed_request_bytes=failed_request,
        final_allocated_bytes=allocator.allocated_bytes,
        final_reserved_bytes=allocator.reserved_bytes,
        phases=tuple(phases),
    )
