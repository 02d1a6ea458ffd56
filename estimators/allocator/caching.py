"""PyTorch's CUDA caching allocator, simulated.

The rules are those of c10/cuda/CUDACachingAllocator.cpp and c10/core/AllocatorConfig.h with their default
settings; names in brackets are the functions and constants there. Left out, because a training step does not
meet them: private pools of CUDA graphs, blocks used by several streams, and the settings `max_split_size_mb`,
`roundup_power2_divisions` and `garbage_collection_threshold`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.allocator.blocks import ALLOCATED, FREE, UNMAPPED, Block
from estimators.allocator.device import DeviceMemory
from estimators.allocator.expandable import ExpandablePool
from estimators.allocator.pools import MIN_BLOCK_BYTES, SMALL_BYTES, Pool, segment_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from estimators.allocator.blocks import BlockState


class OutOfMemory(Exception):
    """The device's memory is too small for a request, even without what was cached.

    Attributes:
        requested_bytes: What was asked of the device, a whole segment, as PyTorch's own error says it.
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
        capacity_bytes: The device's memory that segments can take: what is usable, less the CUDA context.
            None for no limit.
        expandable_segments: As `PYTORCH_ALLOC_CONF=expandable_segments:True`.
        address_of: Where a new segment of so many bytes lies; unless told, above all segments before it.
            Addresses only decide which of several free blocks of equal size is used, the lowest. What the
            real cudaMalloc returns cannot be known, but PyTorch 2.14 has rising addresses in effect: among
            equals it takes the block of the oldest segment (pytorch/pytorch#183591).

    Attributes:
        allocated_bytes: The sum of the allocated blocks, with what rounding adds and what was not split off.
        peak_allocated_bytes: Its maximum since the beginning or `reset_peaks`.
        retries: How often the cache had to be emptied because memory was lacking (`num_alloc_retries`); a
            retry that ends in `OutOfMemory` counts too.
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
        self._memory = DeviceMemory(capacity_bytes, address_of)
        self._new_pool = ExpandablePool if expandable_segments else Pool
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
            ValueError: If `nbytes` is less than 1; PyTorch allocates nothing for an empty tensor.
            OutOfMemory: If the device's memory is too small.
        """
        if nbytes < 1:
            raise ValueError(f"cannot allocate {nbytes} bytes; at least 1 is needed")
        size = (nbytes + MIN_BLOCK_BYTES - 1) // MIN_BLOCK_BYTES * MIN_BLOCK_BYTES
        pool = (self._small if size <= SMALL_BYTES else self._large).get(stream)
        if pool is None:
            pool = self._pool(stream, is_small=size <= SMALL_BYTES)
        block = pool.take(size) or self._obtain(pool, size)
        if block.nbytes - size >= pool.min_rest_bytes:
            pool.add(block.split(size))
        block.state = ALLOCATED
        self.allocated_bytes = allocated = self.allocated_bytes + block.nbytes
        if allocated > self.peak_allocated_bytes:
            self.peak_allocated_bytes = allocated
        return block

    def _pool(self, stream: int, *, is_small: bool) -> Pool:
        pools = self._small if is_small else self._large
        if stream not in pools:
            pools[stream] = self._new_pool(self._memory, stream, is_small=is_small)
        return pools[stream]

    def _obtain(self, pool: Pool, size: int) -> Block:
        block = pool.obtain(size)
        if block is None:
            self.empty_cache()
            self.retries += 1
            block = pool.obtain(size)
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
        for pool in self._pools():
            pool.release()

    def segments(self) -> tuple[SegmentSnapshot, ...]:
        """Return all segments and their blocks as they are now, in the order of their addresses."""
        heads = sorted((address, head) for pool in self._pools() for address, head in pool.heads.items())
        return tuple(segment for _, head in heads for segment in _mapped_stretches(head))

    def restore(self, segments: Iterable[SegmentSnapshot]) -> dict[int, Block]:
        """Let a new allocator begin with these segments, the peaks at what they hold.

        Returns:
            The allocated blocks, by address.

        Raises:
            ValueError: If segments are expandable: a snapshot does not say what addresses they can grow into.
        """
        if self._new_pool is not Pool:
            raise ValueError("expandable segments cannot be restored")
        allocated = {}
        for segment in segments:
            pool = self._pool(segment.stream, is_small=segment.is_small)
            before = None
            for snapshot in segment.blocks:
                # States are told apart by identity, and a snapshot may come from elsewhere.
                state = FREE if snapshot.state == FREE else ALLOCATED
                block = Block(snapshot.address, snapshot.nbytes, pool, state, before)
                if before is None:
                    pool.heads[block.address] = block
                else:
                    before.after = block
                if block.state is FREE:
                    pool.add(block)
                else:
                    allocated[block.address] = block
                    self.allocated_bytes += block.nbytes
                before = block
            self._memory.reserved_bytes += segment.nbytes
            self._memory.end_address = max(self._memory.end_address, segment.address + segment.nbytes)
        self.reset_peaks()
        return allocated

    def _pools(self) -> tuple[Pool, ...]:
        return (*self._large.values(), *self._small.values())


def _mapped_stretches(head: Block) -> Iterator[SegmentSnapshot]:
    stretch: list[BlockSnapshot] = []
    block: Block | None = head
    while block is not None:
        if block.state is not UNMAPPED:
            stretch.append(BlockSnapshot(address=block.address, nbytes=block.nbytes, state=block.state))
        block = block.after
        if stretch and (block is None or block.state is UNMAPPED):
            yield SegmentSnapshot(
                address=stretch[0].address,
                nbytes=sum(snapshot.nbytes for snapshot in stretch),
                stream=head.pool.stream,
                is_small=head.pool.is_small,
                blocks=tuple(stretch),
            )
            stretch = []
