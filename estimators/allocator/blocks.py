"""Blocks: the ranges of device memory that are handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from estimators.allocator.pools import Pool

BlockState = Literal["allocated", "free", "unmapped"]
ALLOCATED: BlockState = "allocated"
FREE: BlockState = "free"
UNMAPPED: BlockState = "unmapped"


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
