"""Where the caching allocator's segments come from: one cudaMalloc each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from estimators.allocator.blocks import FREE, SMALL_BYTES, Block, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

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
    return -(-nbytes // ROUND_SEGMENT_BYTES) * ROUND_SEGMENT_BYTES


class DeviceMemory:
    """The memory of the device, and how much of it is taken.

    Attributes:
        capacity_bytes: How much there is; None for no limit.
        reserved_bytes: How much is taken now.
        peak_reserved_bytes: The most that was taken at once.
    """

    __slots__ = ("capacity_bytes", "peak_reserved_bytes", "reserved_bytes")

    def __init__(self, capacity_bytes: int | None) -> None:
        self.capacity_bytes = capacity_bytes
        self.reserved_bytes = 0
        self.peak_reserved_bytes = 0

    def take(self, nbytes: int) -> bool:
        """Take memory; whether there was enough."""
        reserved = self.reserved_bytes + nbytes
        if self.capacity_bytes is not None and reserved > self.capacity_bytes:
            return False
        self.reserved_bytes = reserved
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, reserved)
        return True

    def give_back(self, nbytes: int) -> None:
        """Return memory."""
        self.reserved_bytes -= nbytes


class SegmentSource(Protocol):
    """What the caching allocator asks for memory.

    Attributes:
        heads: The first block of every segment, by its address.
    """

    heads: dict[int, Block]

    def new_pool(self, stream: int, *, is_small: bool) -> Pool:
        """Return an empty pool for this kind of segments."""

    def obtain(self, pool: Pool, nbytes: int) -> Block | None:
        """Return a new free block of at least `nbytes` bytes, in no pool; None if memory is lacking."""

    def release(self, pool: Pool) -> None:
        """Return to the device what none of the pool's allocated blocks needs."""


class CudaMallocSegments:
    """One cudaMalloc per segment; it goes back to the device when it is one free block.

    Args:
        memory: The device's memory.
        address_of: Where a new segment of so many bytes lies. What the real cudaMalloc returns cannot be
            known; unless told, each segment lies above all before it. Addresses decide nothing but which of
            several free blocks of equal size is used.
    """

    def __init__(self, memory: DeviceMemory, address_of: Callable[[int], int] | None = None) -> None:
        self.heads: dict[int, Block] = {}
        self._memory = memory
        self._address_of = address_of or self._next_address
        self._end_address = 0

    def _next_address(self, nbytes: int) -> int:
        address = self._end_address
        self._end_address += nbytes
        return address

    def new_pool(self, stream: int, *, is_small: bool) -> Pool:
        """Return an empty pool."""
        return Pool(stream, is_small=is_small)

    def obtain(self, pool: Pool, nbytes: int) -> Block | None:
        """Make a new segment, which is one block."""
        nbytes = segment_bytes(nbytes)
        if not self._memory.take(nbytes):
            return None
        block = Block(self._address_of(nbytes), nbytes, pool, FREE)
        self.heads[block.address] = block
        return block

    def release(self, pool: Pool) -> None:
        """Give back every segment that is not split (`release_blocks`)."""
        kept = []
        for entry in pool.free:
            nbytes, address, block = entry
            if block.before is None and block.after is None:
                self._memory.give_back(nbytes)
                del self.heads[address]
            else:
                kept.append(entry)
        pool.free = kept
