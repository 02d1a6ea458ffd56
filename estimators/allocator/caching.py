"""PyTorch's CUDA caching allocator, simulated.

The rules are those of c10/cuda/CUDACachingAllocator.cpp and c10/core/AllocatorConfig.h with their default
settings; the names in brackets are the functions and constants there. Left out, because a training step does
not use it: private pools of CUDA graphs, blocks used by several streams, `max_split_size_mb`,
`roundup_power2_divisions` and garbage collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.allocator.blocks import ALLOCATED, FREE, MIN_BLOCK_BYTES, SMALL_BYTES, UNMAPPED, Block
from estimators.allocator.expandable import ExpandableSegments
from estimators.allocator.segments import CudaMallocSegments, DeviceMemory, segment_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from estimators.allocator.blocks import BlockState, Pool
    from estimators.allocator.segments import SegmentSource


class OutOfMemory(Exception):
    """The device's memory is too small for a request, even without what was cached.

    Attributes:
        requested_bytes: What was asked of the device: the segment, as PyTorch's own error says.
        allocated_bytes: What is allocated at that moment.
        reserved_bytes: What is reserved at that moment, after the cache was emptied.
    """

    def __init__(self, *, requested_bytes: int, allocated_bytes: int, reserved_bytes: int) -> None:
        super().__init__(
            f"{requested_bytes} bytes requested, {allocated_bytes} allocated, {reserved_bytes} reserved"
        )
        self.requested_bytes = requested_bytes
        self.allocated_bytes = allocated_bytes
        self.reserved_bytes = reserved_bytes


@dataclass(frozen=True, kw_only=True)
class BlockSnapshot:
    """A block at one moment; `state` is `allocated` or `free`."""

    address: int
    nbytes: int
    state: BlockState


@dataclass(frozen=True, kw_only=True)
class SegmentSnapshot:
    """A segment at one moment; of an expandable one, a stretch that has memory mapped to it."""

    address: int
    nbytes: int
    stream: int
    is_small: bool
    blocks: tuple[BlockSnapshot, ...]
    """In the order of their addresses, without gaps."""


class CachingAllocator:
    """Allocates and frees as PyTorch does on a CUDA device.

    Args:
        capacity_bytes: The device's memory that segments can take: what is usable, less the CUDA context. None
            for no limit.
        expandable_segments: As `PYTORCH_ALLOC_CONF=expandable_segments:True`.
        address_of: Where cudaMalloc puts a segment of so many bytes; by default above all before it. Has no
            meaning for expandable segments.

    Attributes:
        allocated_bytes: The sum of the allocated blocks, rounding and what was not split off included.
        peak_allocated_bytes: Its maximum since the beginning or `reset_peaks`.
        retries: How often the cache had to be emptied because the device's memory was used up
            (`num_alloc_retries`); the retry that ends in `OutOfMemory` counts too.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int | None = None,
        expandable_segments: bool = False,
        address_of: Callable[[int], int] | None = None,
    ) -> None:
        self.allocated_bytes = 0
        self.peak_allocated_bytes = 0
        self.retries = 0
        self._memory = DeviceMemory(capacity_bytes)
        self._source: SegmentSource = (
            ExpandableSegments(self._memory)
            if expandable_segments
            else CudaMallocSegments(self._memory, address_of)
        )
        self._small: dict[int, Pool] = {}
        self._large: dict[int, Pool] = {}

    @property
    def reserved_bytes(self) -> int:
        """The sum of the segments: what was taken from the device."""
        return self._memory.reserved_bytes

    @property
    def peak_reserved_bytes(self) -> int:
        """Its maximum since the beginning or `reset_peaks`."""
        return self._memory.peak_reserved_bytes

    def reset_peaks(self) -> None:
        """Let both peaks begin anew at what is allocated and reserved now."""
        self.peak_allocated_bytes = self.allocated_bytes
        self._memory.peak_reserved_bytes = self._memory.reserved_bytes

    def malloc(self, nbytes: int, stream: int = 0) -> Block:
        """Allocate a block of at least `nbytes` bytes.

        Raises:
            ValueError: If `nbytes` is less than 1: PyTorch allocates nothing for an empty tensor.
            OutOfMemory: If the device's memory is too small.
        """
        if nbytes < 1:
            raise ValueError(f"cannot allocate {nbytes} bytes; at least 1 is needed")
        size = (nbytes + MIN_BLOCK_BYTES - 1) // MIN_BLOCK_BYTES * MIN_BLOCK_BYTES
        pools = self._small if size <= SMALL_BYTES else self._large
        pool = pools.get(stream)
        if pool is None:
            pool = pools[stream] = self._source.new_pool(stream, is_small=pools is self._small)
        block = pool.take(size) or self._obtain(pool, size)
        if block.nbytes - size >= pool.min_rest_bytes:
            pool.add(block.split(size))
        block.state = ALLOCATED
        self.allocated_bytes = allocated = self.allocated_bytes + block.nbytes
        if allocated > self.peak_allocated_bytes:
            self.peak_allocated_bytes = allocated
        return block

    def _obtain(self, pool: Pool, size: int) -> Block:
        block = self._source.obtain(pool, size)
        if block is None:
            self.empty_cache()
            self.retries += 1
            block = self._source.obtain(pool, size)
        if block is None:
            raise OutOfMemory(
                requested_bytes=segment_bytes(size),
                allocated_bytes=self.allocated_bytes,
                reserved_bytes=self.reserved_bytes,
            )
        return block

    def free(self, block: Block) -> None:
        """Free an allocated block; it merges with the free blocks beside it.

        Raises:
            ValueError: If it is not allocated.
        """
        if block.state is not ALLOCATED:
            raise ValueError(f"{block} is not allocated")
        self.allocated_bytes -= block.nbytes
        block.state = FREE
        block.pool.merge(block)

    def empty_cache(self) -> None:
        """Return to the device every segment, or page, that is free from end to end."""
        for pool in (*self._large.values(), *self._small.values()):
            self._source.release(pool)

    def segments(self) -> tuple[SegmentSnapshot, ...]:
        """Return all segments and their blocks as they are now, in the order of their addresses."""
        heads = sorted(self._source.heads.items())
        return tuple(segment for _, head in heads for segment in _mapped_stretches(head))
