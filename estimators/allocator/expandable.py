"""Expandable segments: pages of memory mapped into a range of addresses that grows with the need."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from estimators.allocator.blocks import ALLOCATED, FREE, MIN_BLOCK_BYTES, UNMAPPED, Block, Pool
from estimators.allocator.segments import LARGE_SEGMENT_BYTES, SMALL_SEGMENT_BYTES

if TYPE_CHECKING:
    from estimators.allocator.segments import DeviceMemory

# A segment's addresses when there is no capacity to derive them from: more than any program maps.
UNBOUNDED_SEGMENT_BYTES = 1 << 60


class ExpandablePool(Pool):
    """A pool whose segments have addresses that no memory is mapped to yet.

    Attributes:
        page_bytes: The unit in which memory is mapped and unmapped.
        unmapped: (address, block) of the ranges without memory, lowest first.
    """

    __slots__ = ("page_bytes", "unmapped")

    def __init__(self, stream: int, *, is_small: bool) -> None:
        super().__init__(stream, is_small=is_small)
        self.min_rest_bytes = MIN_BLOCK_BYTES
        self.page_bytes = SMALL_SEGMENT_BYTES if is_small else LARGE_SEGMENT_BYTES
        self.unmapped: list[tuple[int, Block]] = []

    def take(self, nbytes: int) -> Block | None:
        """Take out the best fit, where a block at the edge of the mapped range counts with what it can grow by.

        The search stops at the first block that the next does not beat (`get_free_block`).
        """
        free = self.free
        index = bisect_left(free, (nbytes,))
        if index == len(free):
            return None
        size = _expandable_bytes(free[index][2])
        while index + 1 < len(free) and (next_size := _expandable_bytes(free[index + 1][2])) < size:
            index, size = index + 1, next_size
        return free.pop(index)[2]

    def add(self, block: Block) -> None:
        """Put a block, free or unmapped, into the pool."""
        if block.state is FREE:
            super().add(block)
        else:
            insort(self.unmapped, (block.address, block))

    def remove(self, block: Block) -> None:
        """Take a block, free or unmapped, out of the pool."""
        if block.state is FREE:
            super().remove(block)
        else:
            del self.unmapped[bisect_left(self.unmapped, (block.address,))]


def _expandable_bytes(block: Block) -> int:
    after = block.after
    return block.nbytes + (after.nbytes if after is not None and after.state is UNMAPPED else 0)


class ExpandableSegments:
    """Segments that grow: one per pool, and another only when its addresses are used up.

    Args:
        memory: The device's memory.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self.heads: dict[int, Block] = {}
        self._memory = memory
        self._end_address = 0

    def new_pool(self, stream: int, *, is_small: bool) -> ExpandablePool:
        """Return an empty pool."""
        return ExpandablePool(stream, is_small=is_small)

    def obtain(self, pool: ExpandablePool, nbytes: int) -> Block | None:
        """Map pages until there is a free block of `nbytes` bytes (`try_allocate_expandable_block`).

        What was mapped before memory ran out stays in the pool.
        """
        block: Block | None = self._candidate(pool, nbytes)
        if block.state is UNMAPPED:
            block = self._map(pool, block, min(nbytes, block.nbytes))
        while block is not None and block.nbytes < nbytes:
            unmapped = block.after
            assert unmapped is not None  # the candidate was chosen for the room that follows it
            block = self._map(pool, unmapped, min(nbytes - block.nbytes, unmapped.nbytes))
        if block is not None:
            pool.remove(block)
        return block

    def _candidate(self, pool: ExpandablePool, nbytes: int) -> Block:
        """Return where room for `nbytes` bytes begins, at the lowest address (`find_expandable_block`)."""
        for _, block in pool.unmapped:
            before = block.before
            start = before if before is not None and before.state is FREE else block
            if _room_bytes(start, nbytes) >= nbytes:
                return start
        return self._new_segment(pool)

    def _new_segment(self, pool: ExpandablePool) -> Block:
        """Reserve addresses for 1 1/8 of the device's memory, which allows for gaps."""
        page = pool.page_bytes
        capacity = self._memory.capacity_bytes
        wanted = UNBOUNDED_SEGMENT_BYTES if capacity is None else capacity + capacity // 8
        address = -(-self._end_address // page) * page
        block = Block(address, -(-wanted // page) * page, pool, UNMAPPED)
        self._end_address = address + block.nbytes
        self.heads[address] = block
        pool.add(block)
        return block

    def _map(self, pool: ExpandablePool, block: Block, nbytes: int) -> Block | None:
        """Map whole pages to the first `nbytes` bytes of an unmapped block (`map_block`).

        Returns:
            The free block that they are part of now; None if memory is lacking.
        """
        nbytes = -(-nbytes // pool.page_bytes) * pool.page_bytes
        if not self._memory.take(nbytes):
            return None
        pool.remove(block)
        if nbytes < block.nbytes:
            pool.add(block.split(nbytes))
        block.state = FREE
        return pool.merge(block)

    def release(self, pool: ExpandablePool) -> None:
        """Unmap every page that lies within one free block (`release_blocks`)."""
        for _, _, block in pool.free.copy():
            self._unmap(pool, block)

    def _unmap(self, pool: ExpandablePool, block: Block) -> None:
        page = pool.page_bytes
        end_address = block.address + block.nbytes
        first = -(-block.address // page) * page
        last = end_address // page * page
        if first >= last:
            return
        pool.remove(block)
        if block.address < first:
            within = block.split(first - block.address)
            pool.add(block)
            block = within
        if last < end_address:
            pool.add(block.split(last - first))
        self._memory.give_back(last - first)
        block.state = UNMAPPED
        block = pool.merge(block)
        if block.before is None and block.after is None:
            pool.remove(block)
            del self.heads[block.address]


def _room_bytes(block: Block | None, enough_bytes: int) -> int:
    """Return the bytes of consecutive blocks that are not allocated, counted until they are enough."""
    room = 0
    while block is not None and block.state is not ALLOCATED and room < enough_bytes:
        room += block.nbytes
        block = block.after
    return room
