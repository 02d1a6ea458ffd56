"""Replays recorded traces of PyTorch's allocator on real GPUs in the simulator: every decision must agree.

    python benchmarks/allocator_traces.py [FOLDER]

The folder holds recordings, `NAME.trace.csv.gz` with `NAME.final_blocks.csv.gz`; see
estimators/allocator/recorded.py for the columns. Exits with 1 if a replay differs from its recording.

What a trace can leave open is the size of a large block that is older than it: up to 1 MiB may not have been
split off. If the block was freed before the end, only what was requested is recorded, and with a free block
right after it nothing tells where it ended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from estimators.allocator.recorded import Recording, compare
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from estimators.allocator.caching import SegmentSnapshot
    from estimators.allocator.recorded import Comparison

DEFAULT_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "cuda_traces"
TRACE_SUFFIX = ".trace.csv.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    folder = parser.parse_args().folder
    traces = sorted(folder.glob(f"*{TRACE_SUFFIX}"))
    if not traces:
        sys.exit(f"there is no *{TRACE_SUFFIX} in {folder}")
    differs = False
    for trace in traces:
        name = trace.name.removesuffix(TRACE_SUFFIX)
        try:
            recording = Recording.read(trace, folder / f"{name}.final_blocks.csv.gz")
            comparison = compare(recording)
        except SizeupError as error:
            sys.exit(str(error))
        print(f"{name}\n{_report(recording, comparison)}\n")
        differs |= comparison.difference is not None
    sys.exit(differs)


def _report(recording: Recording, comparison: Comparison) -> str:
    origin = comparison.origin
    asked = sum(event.action == "alloc" for event in recording.events)
    obtained = sum(event.action == "segment_alloc" for event in recording.events)
    agreed = len(set(recording.final) & set(comparison.segments))
    open_bytes = origin.open_bytes.values()
    return "\n".join(
        (
            f"  before the trace   {_shown(origin.segments)}, found by rewinding",
            f"  left open by it    the size of {len(open_bytes)} blocks, by {sum(open_bytes)} bytes at most",
            f"  allocations        {comparison.allocations} of {asked} at the recorded address;"
            f" {obtained} new segments recorded",
            f"  emptied caches     {comparison.releases} gave back the recorded segments",
            f"  after the trace    {_shown(recording.final)}; {agreed} segments agree in every block",
            f"  first difference   {comparison.difference or 'none'}",
        )
    )


def _shown(segments: tuple[SegmentSnapshot, ...]) -> str:
    states = [block.state for segment in segments for block in segment.blocks]
    return (
        f"{len(segments)} segments of {sum(segment.nbytes for segment in segments)} bytes,"
        f" {states.count('allocated')} allocated and {states.count('free')} free blocks"
    )


if __name__ == "__main__":
    main()
