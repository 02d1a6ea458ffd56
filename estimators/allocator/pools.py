"""Pools: where free blocks wait for the next request, and where segments come from and go to."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from estimators.allocator.blocks import FREE, Block
from estimators.allocator.device import round_up

if TYPE_CHECKING:
    from estimators.allocator.device import DeviceMemory

MIN_BLOCK_BYTES = 512
"""Every request is rounded up to a multiple of it (`kMinBlockSize`)."""
SMALL_BYTES = 1 << 20
"""The largest request that the small pool serves (`kSmallSize`)."""
SMALL_SEGMENT_BYTES = 2 << 20
"""A segment, or a page, of the small pool (`kSmallBuffer`)."""
LARGE_SEGMENT_BYTES = 20 << 20
"""A segment for requests below 10 MiB, or a page, of the large pool (`large_segment_size`)."""
MIN_OWN_SEGMENT_BYTES = 10 << 20
"""From this request on, a segment is made to measure (`kMinLargeAlloc`)..."""
ROUND_SEGMENT_BYTES = 2 << 20
"""...rounded up to a multiple of this (`kRoundLarge`)."""


def segment_bytes(nbytes: int) -> int:
    """Return the bytes of a new segment for a rounded request (`get_allocation_size`)."""
    if nbytes <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if nbytes < MIN_OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return round_up(nbytes, ROUND_SEGMENT_BYTES)


class Pool:
    """The free blocks for one stream's small or large requests; its segments are one cudaMalloc each.

    Args:
        memory: The device's memory.
        stream: The stream that the blocks belong to; no other gets them.
        is_small: Whether it serves requests of at most 1 MiB.

    Attributes:
        min_rest_bytes: A block is split if at least this much is left over (`should_split`): what is left of
            a large block must be good for another large request.
        free: (bytes, address, block), sorted: the order in which PyTorch looks for the best fit.
        heads: The first block of every segment, by its address.
    """

    __slots__ = ("free", "heads", "is_small", "memory", "min_rest_bytes", "stream")

    def __init__(self, memory: DeviceMemory, stream: int, *, is_small: bool) -> None:
        self.memory = memory
        self.stream = stream
        self.is_small = is_small
        self.min_rest_bytes = MIN_BLOCK_BYTES if is_small else SMALL_BYTES + MIN_BLOCK_BYTES
        self.free: list[tuple[int, int, Block]] = []
        self.heads: dict[int, Block] = {}

    def take(self, nbytes: int) -> Block | None:
        """Take out the smallest block of at least `nbytes` bytes, at the lowest address; None if none is."""
        free = self.free
        index = bisect_left(free, (nbytes,))
        return free.pop(index)[2] if index < len(free) else None

    def add(self, block: Block) -> None:
        """Put a block into the pool."""
        insort(self.free, (block.nbytes, block.address, block))

    def remove(self, block: Block) -> None:
        """Take this block out of the pool."""
        free = self.free
        del free[bisect_left(free, (block.nbytes, block.address))]

    def merge(self, block: Block) -> Block:
        """Put a block into the pool, merged with its neighbours in the same state; return the whole."""
        state = block.state
        before = block.before
        if before is not None and before.state is state:
            self.remove(before)
            before.absorb(block)
            block = before
        after = block.after
        if after is not None and after.state is state:
            self.remove(after)
            block.absorb(after)
        self.add(block)
        return block

    def obtain(self, nbytes: int) -> Block | None:
        """Get a new segment; its one block is not in the pool yet. None if memory is lacking."""
        size = segment_bytes(nbytes)
        if not self.memory.take(size):
            return None
        block = Block(self.memory.place(size), size, self, FREE)
        self.heads[block.address] = block
        return block

    def release(self) -> None:
        """Give every segment that is one free block back to the device (`release_blocks`)."""
        kept = []
        for entry in self.free:
            nbytes, address, block = entry
            if block.before is None and block.after is None:
                self.memory.give_back(nbytes)
                del self.heads[address]
            else:
                kept.append(entry)
        self.free = kept
