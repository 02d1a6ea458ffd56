"""Expandable segments: pages of memory mapped into a range of addresses, which grows with the need."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from estimators.allocator.blocks import ALLOCATED, FREE, UNMAPPED, Block
from estimators.allocator.device import round_up
from estimators.allocator.pools import LARGE_SEGMENT_BYTES, MIN_BLOCK_BYTES, SMALL_SEGMENT_BYTES, Pool

if TYPE_CHECKING:
    from estimators.allocator.device import DeviceMemory

# The addresses of a segment when there is no capacity to derive them from: more than any program maps.
UNBOUNDED_SEGMENT_BYTES = 1 << 60


class ExpandablePool(Pool):
    """A pool of one segment that grows; of another only when the addresses of the first are used up.

    Attributes:
        page_bytes: The unit in which memory is mapped and unmapped.
        unmapped: (address, block) of the ranges without memory, lowest first.
    """

    __slots__ = ("page_bytes", "unmapped")

    def __init__(self, memory: DeviceMemory, stream: int, *, is_small: bool) -> None:
        super().__init__(memory, stream, is_small=is_small)
        self.min_rest_bytes = MIN_BLOCK_BYTES
        self.page_bytes = SMALL_SEGMENT_BYTES if is_small else LARGE_SEGMENT_BYTES
        self.unmapped: list[tuple[int, Block]] = []

    def take(self, nbytes: int) -> Block | None:
        """Take out the best fit, where a block counts with the unmapped range that it can grow into.

        The search stops at the first block that the next one does not beat (`get_free_block`).
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
        """Take this block, free or unmapped, out of the pool."""
        if block.state is FREE:
            super().remove(block)
        else:
            del self.unmapped[bisect_left(self.unmapped, (block.address,))]

    def obtain(self, nbytes: int) -> Block | None:
        """Map pages until there is a free block of `nbytes` bytes (`try_allocate_expandable_block`).

        If memory is lacking, what was mapped until then stays in the pool.
        """
        start = self._room_for(nbytes)
        block = self._map(start, min(nbytes, start.nbytes)) if start.state is UNMAPPED else start
        while block is not None and block.nbytes < nbytes:
            unmapped = block.after
            assert unmapped is not None, "the room begins with a block that is too small"
            block = self._map(unmapped, min(nbytes - block.nbytes, unmapped.nbytes))
        if block is not None:
            self.remove(block)
        return block

    def _room_for(self, nbytes: int) -> Block:
        """Return the block at which room for `nbytes` bytes begins, the lowest (`find_expandable_block`)."""
        for _, block in self.unmapped:
            before = block.before
            start = before if before is not None and before.state is FREE else block
            if _has_room(start, nbytes):
                return start
        return self._new_segment()

    def _new_segment(self) -> Block:
        # PyTorch reserves addresses for 1 1/8 of the device's memory, which allows for gaps.
        capacity = self.memory.capacity_bytes
        wanted = UNBOUNDED_SEGMENT_BYTES if capacity is None else capacity + capacity // 8
        size = round_up(wanted, self.page_bytes)
        block = Block(self.memory.place(size, alignment=self.page_bytes), size, self, UNMAPPED)
        self.heads[block.address] = block
        self.add(block)
        return block

    def _map(self, block: Block, nbytes: int) -> Block | None:
        """Map pages to the first `nbytes` bytes of an unmapped block (`map_block`).

        Returns:
            The free block that they are part of then; None if memory is lacking.
        """
        size = round_up(nbytes, self.page_bytes)
        if not self.memory.take(size):
            return None
        self.remove(block)
        if size < block.nbytes:
            self.add(block.split(size))
        block.state = FREE
        return self.merge(block)

    def release(self) -> None:
        """Unmap every page that lies within one free block (`release_blocks`)."""
        for _, _, block in self.free.copy():
            self._unmap(block)

    def _unmap(self, block: Block) -> None:
        end_address = block.address + block.nbytes
        first = round_up(block.address, self.page_bytes)
        last = end_address // self.page_bytes * self.page_bytes
        if first >= last:
            return
        self.remove(block)
        if block.address < first:
            pages = block.split(first - block.address)
            self.add(block)
            block = pages
        if last < end_address:
            self.add(block.split(last - first))
        self.memory.give_back(last - first)
        block.state = UNMAPPED
        block = self.merge(block)
        if block.before is None and block.after is None:
            self.remove(block)
            del self.heads[block.address]


def _expandable_bytes(block: Block) -> int:
    after = block.after
    return block.nbytes + (after.nbytes if after is not None and after.state is UNMAPPED else 0)


def _has_room(block: Block | None, nbytes: int) -> bool:
    """Whether this block and those after it, up to the first allocated one, hold `nbytes` bytes."""
    while nbytes > 0 and block is not None and block.state is not ALLOCATED:
        nbytes -= block.nbytes
        block = block.after
    return nbytes <= 0
