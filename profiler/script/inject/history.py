"""torch's own memory history: recorded from the first allocation, kept as a snapshot, read for the peak."""

from __future__ import annotations

import bisect
import contextlib
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .allocator_peaks import DEVICE
from .tensors import GRADIENTS, OPTIMIZER_STATES, PARAMETERS
from .timeline import BACKWARD, EVALUATION, FORWARD, OPTIMIZER
from .user_code import innermost, inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .timeline import Border

# Of torch's ring of events; an 8B model's step has some 20,000. Older ones are forgotten.
MOST_EVENTS = 200_000
ACTIVATIONS, TEMPORARY, OTHER = "activations", "temporary", "other"
CATEGORIES = (PARAMETERS, GRADIENTS, OPTIMIZER_STATES, ACTIVATIONS, TEMPORARY, OTHER)
_FOREVER = 2**63
_BY_PHASE = {FORWARD: ACTIVATIONS, EVALUATION: ACTIVATIONS, BACKWARD: TEMPORARY, OPTIMIZER: TEMPORARY}


@dataclass(kw_only=True)
class _Block:
    """One allocation and its life; times in microseconds of the wall clock, events by their index."""

    address: int
    size: int
    frames: Sequence[Mapping[str, Any]]
    born: int
    born_at: int
    died: int = _FOREVER
    died_at: int = _FOREVER


def record(torch: Any) -> None:
    """Begin to record once the script begins to use the GPU; it does not begin because of this."""

    def begin() -> None:
        torch.cuda.memory._record_memory_history(
            enabled="all", context="alloc", stacks="python", max_entries=MOST_EVENTS
        )

    torch.cuda._lazy_call(begin)


def take_snapshot(torch: Any) -> dict[str, Any]:
    """Return torch's snapshot and end the recording."""
    snapshot: dict[str, Any] = torch.cuda.memory._snapshot(DEVICE)
    with contextlib.suppress(RuntimeError):
        torch.cuda.memory._record_memory_history(enabled=None)
    return snapshot


def write_snapshot(snapshot: Mapping[str, Any], path: str) -> None:
    """Write a snapshot as torch does: for `python -m torch.cuda._memory_viz` and pytorch.org/memory_viz."""
    with open(path, "wb") as file:
        pickle.dump(snapshot, file)


def holders_at_peak(
    snapshot: Mapping[str, Any],
    *,
    borders: Sequence[Border],
    labels: Mapping[int, Sequence[tuple[int, str]]],
) -> dict[str, Any]:
    """Return what held memory at the peak of allocated memory, by category and by line, largest first.

    Args:
        snapshot: With its trace.
        borders: The phases of the run, in order.
        labels: What addresses were when, as `TensorLabels.seen`.

    Returns:
        `step`, `phase`, `line` (of the user's that was at work) and `bytes` of the peak, as far back as the
        trace goes; `by_category` and `by_line`: rows with their bytes.
    """
    blocks, peak_event = _lives(snapshot)
    live = [block for block in blocks if block.born <= peak_event < block.died]
    by_category: dict[str, int] = {}
    by_line: dict[tuple[str | None, str | None, str], int] = {}
    starts = [border.microseconds for border in borders]

    def border_at(microseconds: int) -> Border:
        return borders[bisect.bisect_right(starts, microseconds) - 1]

    for block in live:
        border = border_at(block.born_at)
        category = _label(block, labels) or _BY_PHASE.get(border.phase, OTHER)
        # autograd's threads have no Python: the line that called backward stands for them.
        line = innermost(block.frames) or border.line
        by_category[category] = by_category.get(category, 0) + block.size
        key = (line, inside(block.frames), category)
        by_line[key] = by_line.get(key, 0) + block.size
    peak: dict[str, Any] = {}
    if live:
        last = max(live, key=lambda block: block.born)
        border = border_at(last.born_at)
        peak = {"step": border.step, "phase": border.phase, "line": innermost(last.frames) or border.line}
    return {
        **peak,
        "bytes": sum(by_category.values()),
        "by_category": [
            {"category": category, "size_bytes": size}
            for category, size in sorted(by_category.items(), key=lambda item: -item[1])
        ],
        "by_line": [
            {"line": line, "inside": library, "category": category, "size_bytes": size}
            for (line, library, category), size in sorted(by_line.items(), key=lambda item: -item[1])
        ],
    }


def _label(block: _Block, labels: Mapping[int, Sequence[tuple[int, str]]]) -> str | None:
    found = {what for at, what in labels.get(block.address, ()) if block.born_at <= at <= block.died_at}
    return next((label for label in (PARAMETERS, GRADIENTS, OPTIMIZER_STATES) if label in found), None)


def _lives(snapshot: Mapping[str, Any]) -> tuple[list[_Block], int]:
    """Return the allocations of a snapshot, and the event after which most was allocated.

    What was allocated before the trace begins is there if it is freed in it, or alive at its end.
    """
    trace = snapshot["device_traces"][DEVICE] if snapshot["device_traces"] else []
    alive: dict[int, _Block] = {}
    blocks: list[_Block] = []
    for index, event in enumerate(trace):
        address = event.get("addr", 0)
        if event["action"] == "alloc":
            block = _Block(
                address=address,
                size=event["size"],
                frames=event["frames"],
                born=index,
                born_at=event["time_us"],
            )
            alive[address] = block
            blocks.append(block)
        elif event["action"] == "free_requested":
            if address in alive:
                block = alive.pop(address)
            else:
                block = _Block(address=address, size=event["size"], frames=(), born=-1, born_at=0)
                blocks.append(block)
            block.died, block.died_at = index, event["time_us"]
    blocks.extend(_alive_all_along(snapshot, alive))
    return blocks, _peak_event(blocks, len(trace))


def _alive_all_along(snapshot: Mapping[str, Any], alive: Mapping[int, _Block]) -> list[_Block]:
    return [
        _Block(
            address=block["address"],
            size=block["requested_size"],
            frames=block.get("frames", ()),
            born=-1,
            born_at=0,
        )
        for segment in snapshot["segments"]
        for block in segment["blocks"]
        if block["state"] == "active_allocated" and block["address"] not in alive
    ]


def _peak_event(blocks: Sequence[_Block], events: int) -> int:
    changes = [0] * (events + 1)  # the first is what was there before
    for block in blocks:
        changes[block.born + 1] += block.size
        if block.died < _FOREVER:
            changes[block.died + 1] -= block.size
    best, peak, held = 0, -1, 0
    for index, change in enumerate(changes):
        held += change
        if held > best:
            best, peak = held, index - 1
    return peak
