"""Recorded allocator traces of real GPUs, replayed: does the simulator end where PyTorch ended?

A trace (`torch.cuda.memory._record_memory_history`) begins in the middle of a process. What existed before is
found by rewinding it from the state at its end. A recording is two CSV files, compressed with gzip or not:

    NAME.trace.csv         action, addr, size_bytes, stream: the trace, in its order
    NAME.final_blocks.csv  segment_addr, segment_bytes, segment_type, stream, block_addr, block_bytes, state
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from estimators.allocator.blocks import ALLOCATED, FREE
from estimators.allocator.caching import BlockSnapshot, CachingAllocator, SegmentSnapshot
from estimators.allocator.device import round_up
from estimators.allocator.pools import MIN_BLOCK_BYTES, SMALL_BYTES, SMALL_SEGMENT_BYTES
from profiler.errors import UsageError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from estimators.allocator.blocks import BlockState

# Rows that move no memory: a block can be used again only when its free is completed.
SILENT_ACTIONS = frozenset({"free_requested", "oom", "snapshot"})
STATES: dict[str, BlockState] = {
    "active_allocated": ALLOCATED,
    "active_awaiting_free": ALLOCATED,
    "active_pending_free": ALLOCATED,
    "inactive": FREE,
}
ACTIONS = frozenset({"alloc", "free_completed", "segment_alloc", "segment_free"})


@dataclass(frozen=True, kw_only=True)
class RecordedEvent:
    """One row of a trace; `nbytes` is what was requested, or the size of a segment."""

    action: str
    address: int
    nbytes: int
    stream: int = 0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A trace, and the segments at its end in the order of their addresses."""

    events: tuple[RecordedEvent, ...]
    final: tuple[SegmentSnapshot, ...]

    @classmethod
    def read(cls, trace: Path, final_blocks: Path) -> Recording:
        """Read the two files of a recording.

        Raises:
            UsageError: If a file cannot be read, is not such a table, or holds what cannot be replayed, such
                as the pages of expandable segments.
        """
        rows = _read_table(trace, {"action": str, "addr": int, "size_bytes": int, "stream": int})
        rows = rows[~rows["action"].isin(SILENT_ACTIONS)]
        if unknown := sorted(set(rows["action"]) - ACTIONS):
            known = ", ".join(sorted(ACTIONS | SILENT_ACTIONS))
            raise UsageError(f"{trace} holds the action {unknown[0]!r}; only {known} can be replayed")
        if (rows["size_bytes"] < 1).any():
            raise UsageError(f"{trace} holds a size_bytes below 1")
        events = (
            RecordedEvent(action=action, address=address, nbytes=nbytes, stream=stream)
            for action, address, nbytes, stream in rows[
                ["action", "addr", "size_bytes", "stream"]
            ].itertuples(index=False, name=None)
        )
        return cls(events=tuple(events), final=_read_segments(final_blocks))


def _read_segments(path: Path) -> tuple[SegmentSnapshot, ...]:
    segment_columns = {"segment_addr": int, "segment_bytes": int, "segment_type": str, "stream": int}
    block_columns = {"block_addr": int, "block_bytes": int, "state": str}
    rows = _read_table(path, segment_columns | block_columns)
    if unknown := sorted(set(rows["state"]) - set(STATES)):
        raise UsageError(f"{path} holds the state {unknown[0]!r}; known: {', '.join(STATES)}")
    blocks: dict[tuple[int, int, str, int], list[BlockSnapshot]] = {}
    for *segment, address, nbytes, state in rows.sort_values("block_addr").itertuples(index=False, name=None):
        blocks.setdefault(tuple(segment), []).append(
            BlockSnapshot(address=address, nbytes=nbytes, state=STATES[state])
        )
    return tuple(
        SegmentSnapshot(
            address=address, nbytes=nbytes, stream=stream, is_small=kind == "small", blocks=tuple(inside)
        )
        for (address, nbytes, kind, stream), inside in sorted(blocks.items())
    )


def _read_table(path: Path, columns: dict[str, type]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, usecols=list(columns), dtype=columns, index_col=False)[list(columns)]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is not part of a recording: {first_line(error)}") from None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The state before a trace.

    Attributes:
        segments: The segments and their blocks, in the order of their addresses.
        open_bytes: What the trace leaves open: the blocks, by address, whose size it does not say, and by how
            much each may have been larger than assumed. A large block is not split if at most 1 MiB would be
            left over. Of a block that was freed before the end only the request is recorded; if a free block
            followed it, nothing tells where the one ended and the other began. It is assumed to have been
            split exactly.
    """

    segments: tuple[SegmentSnapshot, ...]
    open_bytes: dict[int, int]


def rewind(recording: Recording) -> Origin:
    """Find the state before a trace from the state at its end.

    Raises:
        UsageError: If the two contradict each other.
    """
    allocated = {
        block.address: block.nbytes
        for segment in recording.final
        for block in segment.blocks
        if block.state == ALLOCATED
    }
    is_exact = set(allocated)
    segments = {segment.address: segment for segment in recording.final}
    for event in reversed(recording.events):
        known = segments if event.action.startswith("segment") else allocated
        # What an event brought forth must be there after it, and what it removed must not.
        if (event.action in {"alloc", "segment_alloc"}) != (event.address in known):
            raise UsageError(f"the trace and its end contradict each other: {event}")
        if event.action == "segment_alloc":
            del segments[event.address]
        elif event.action == "segment_free":
            segments[event.address] = SegmentSnapshot(
                address=event.address,
                nbytes=event.nbytes,
                stream=event.stream,
                is_small=event.nbytes == SMALL_SEGMENT_BYTES,
                blocks=(),
            )
        elif event.action == "alloc":
            del allocated[event.address]
        else:
            allocated[event.address] = round_up(event.nbytes, MIN_BLOCK_BYTES)
            is_exact.discard(event.address)
    addresses = sorted(allocated)
    open_bytes: dict[int, int] = {}
    laid_out = []
    for _, segment in sorted(segments.items()):
        first, last = (bisect_left(addresses, segment.address + offset) for offset in (0, segment.nbytes))
        inside = {address: allocated[address] for address in addresses[first:last]}
        blocks, rests = _lay_out(segment, inside, is_exact)
        laid_out.append(replace(segment, blocks=tuple(blocks)))
        open_bytes |= rests
    return Origin(segments=tuple(laid_out), open_bytes=open_bytes)


def _lay_out(
    segment: SegmentSnapshot, allocated: dict[int, int], is_exact: set[int]
) -> tuple[list[BlockSnapshot], dict[int, int]]:
    """Return the blocks of a segment, given the allocated ones, and the sizes that are left open."""
    blocks: list[BlockSnapshot] = []
    open_bytes = {}
    position, end = segment.address, segment.address + segment.nbytes
    for (address, size), limit in zip(allocated.items(), [*allocated, end][1:], strict=True):
        nbytes, rest = size, limit - address - size
        if rest < 0:
            raise UsageError(f"the trace and its end contradict each other: blocks overlap at {address:#x}")
        if not segment.is_small and address not in is_exact:
            # Every block of the large pool, free or not, has more than 1 MiB: less belongs to this one.
            if rest <= SMALL_BYTES:
                nbytes += rest
            elif rest > SMALL_BYTES + MIN_BLOCK_BYTES:
                open_bytes[address] = min(SMALL_BYTES, rest - SMALL_BYTES - MIN_BLOCK_BYTES)
        blocks += _free_up_to(address, position)
        blocks.append(BlockSnapshot(address=address, nbytes=nbytes, state=ALLOCATED))
        position = address + nbytes
    return blocks + _free_up_to(end, position), open_bytes


def _free_up_to(address: int, position: int) -> list[BlockSnapshot]:
    size = address - position
    return [BlockSnapshot(address=position, nbytes=size, state=FREE)] if size else []


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far a replay agrees with a recording.

    Attributes:
        origin: The state that it began with.
        allocations: How many allocations were replayed, each at the address that was recorded.
        releases: How often an emptied cache gave back the segments that were recorded.
        difference: The first thing that differs, where the replay stops; None if nothing does.
        segments: The segments at the end of the replay, or where it stopped.
    """

    origin: Origin
    allocations: int
    releases: int
    difference: str | None
    segments: tuple[SegmentSnapshot, ...]


class _Difference(Exception):
    """What the simulator did was not recorded."""


def compare(recording: Recording) -> Comparison:
    """Replay a trace and compare every decision with the recorded one.

    The simulator is told where cudaMalloc puts each segment, so that all addresses can be compared.

    Raises:
        UsageError: If the trace and its end contradict each other.
    """
    origin = rewind(recording)
    obtained: deque[RecordedEvent] = deque()

    def address_of(nbytes: int) -> int:
        if not obtained or obtained[0].nbytes != nbytes:
            raise _Difference(f"a segment of {nbytes} bytes is needed, which was not recorded")
        return obtained.popleft().address

    allocator = CachingAllocator(address_of=address_of)
    blocks = allocator.restore(origin.segments)
    allocations = releases = 0
    difference = None
    try:
        for action, run in groupby(recording.events, key=lambda event: event.action):
            if action == "segment_free":
                _compare_release(allocator, {event.address for event in run})
                releases += 1
                continue
            for event in run:
                if action == "segment_alloc":
                    obtained.append(event)
                elif action == "free_completed":
                    allocator.free(blocks.pop(event.address))
                else:
                    block = blocks[event.address] = allocator.malloc(event.nbytes, event.stream)
                    if block.address != event.address:
                        raise _Difference(f"{event} is put at {block.address:#x}")
                    if obtained:
                        raise _Difference(f"{event} fits into a free block; a segment was recorded")
                    allocations += 1
        if allocator.segments() != recording.final:
            raise _Difference("the segments and blocks at the end differ")
    except _Difference as found:
        difference = str(found)
    return Comparison(
        origin=origin,
        allocations=allocations,
        releases=releases,
        difference=difference,
        segments=allocator.segments(),
    )


def _compare_release(allocator: CachingAllocator, recorded: set[int]) -> None:
    before = {segment.address for segment in allocator.segments()}
    allocator.empty_cache()
    released = before - {segment.address for segment in allocator.segments()}
    if released != recorded:
        raise _Difference(
            f"an emptied cache gives back {len(released)} segments; {len(recorded)} were recorded"
        )
