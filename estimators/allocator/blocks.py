"""Blocks of device memory, and the pools that free ones wait in."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Literal

BlockState = Literal["allocated", "free", "unmapped"]
ALLOCATED: BlockState = "allocated"
FREE: BlockState = "free"
UNMAPPED: BlockState = "unmapped"

MIN_BLOCK_BYTES = 512
"""Every request is rounded up to a multiple of it (`kMinBlockSize`)."""
SMALL_BYTES = 1 << 20
"""The largest request that the small pool serves (`kSmallSize`)."""


class Block:
    """A range of addresses within one segment; `before` and `after` are its neighbours there.

    Whoever allocated it reads `address` and `nbytes`, and gives it back to `CachingAllocator.free`.
    """

    __slots__ = ("address", "after", "before", "nbytes", "pool", "state")

    def __init__(
        self,
        address: int,
        nbytes: int,
        pool: Pool,
        state: BlockState,
        before: Block | None = None,
        after: Block | None = None,
    ) -> None:
        self.address = address
        self.nbytes = nbytes
        self.pool = pool
        self.state = state
        self.before = before
        self.after = after

    def __repr__(self) -> str:
        return f"Block({self.address:#x}, {self.nbytes} bytes, {self.state})"

    def split(self, nbytes: int) -> Block:
        """Keep the first `nbytes` bytes and return the rest as a new block in the same state, in no pool."""
        after = self.after
        rest = Block(self.address + nbytes, self.nbytes - nbytes, self.pool, self.state, self, after)
        if after is not None:
            after.before = rest
        self.after = rest
        self.nbytes = nbytes
        return rest

    def absorb(self, after: Block) -> None:
        """Take over the block right after this one.

        The left of two blocks always survives, so that the first block of a segment stays the same object.
        """
        self.nbytes += after.nbytes
        self.after = after.after
        if self.after is not None:
            self.after.before = self


class Pool:
    """The free blocks for one stream's small or large requests.

    Attributes:
        stream: The stream that the blocks belong to; no other gets them.
        is_small: Whether it serves requests of at most 1 MiB.
        min_rest_bytes: A block is split if at least this much is left over (`should_split`): what is left of
            a large block must be good for another large request.
        free: (bytes, address, block), sorted: the order in which PyTorch looks for the best fit.
    """

    __slots__ = ("free", "is_small", "min_rest_bytes", "stream")

    def __init__(self, stream: int, *, is_small: bool) -> None:
        self.stream = stream
        self.is_small = is_small
        self.min_rest_bytes = MIN_BLOCK_BYTES if is_small else SMALL_BYTES + MIN_BLOCK_BYTES
        self.free: list[tuple[int, int, Block]] = []

    def take(self, nbytes: int) -> Block | None:
        """Take out the smallest block of at least `nbytes` bytes, at the lowest address; None if none is."""
        free = self.free
        index = bisect_left(free, (nbytes,))
        return free.pop(index)[2] if index < len(free) else None

    def add(self, block: Block) -> None:
        """Put a block into the pool."""
        insort(self.free, (block.nbytes, block.address, block))

    def remove(self, block: Block) -> None:
        """Take a block out of the pool."""
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
