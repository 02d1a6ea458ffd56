"""The rules of expandable segments, each on an example that can be followed by hand."""

import pytest

from estimators.allocator import CachingAllocator, OutOfMemory
from tests.estimators.allocator.test_caching import MIB, layout


def expandable(capacity_mib=None):
    capacity = None if capacity_mib is None else capacity_mib * MIB
    return CachingAllocator(capacity_bytes=capacity, expandable_segments=True)


# Pages: 2 MiB for small requests, 20 MiB for large ones.
@pytest.mark.parametrize(
    ("request_bytes", "reserved_mib"), [(1, 2), (MIB, 2), (MIB + 1, 20), (20 * MIB, 20), (20 * MIB + 1, 40)]
)
def test_whole_pages_are_mapped(request_bytes, reserved_mib):
    allocator = expandable()
    allocator.malloc(request_bytes)
    assert allocator.reserved_bytes == reserved_mib * MIB


# Splitting: down to 512 bytes in the large pool too.
def test_a_large_block_is_split_down_to_512_bytes():
    allocator = expandable()
    assert allocator.malloc(20 * MIB - 512).nbytes == 20 * MIB - 512
    assert layout(allocator) == [[(20 - 512 / MIB, "allocated"), (512 / MIB, "free")]]


# Growing: new pages join the free end of the segment, and only what is missing is mapped.
def test_a_segment_grows_by_what_is_missing():
    allocator = expandable()
    allocator.malloc(15 * MIB)
    allocator.malloc(30 * MIB)
    assert layout(allocator) == [[(15, "allocated"), (30, "allocated"), (15, "free")]]


# One segment: where cudaMalloc needs a segment per size, growing requests reuse the same pages.
def test_growing_requests_reuse_the_same_pages():
    plain, growing = CachingAllocator(), expandable()
    for size in (20, 40, 60, 80):
        for allocator in (plain, growing):
            allocator.free(allocator.malloc(size * MIB))
    assert plain.reserved_bytes == 200 * MIB
    assert growing.reserved_bytes == 80 * MIB


# Best fit: the block at the end counts with the room that it can grow into, so that inner gaps go first.
def test_an_inner_gap_goes_before_the_end_that_can_grow():
    allocator = expandable()
    gap = allocator.malloc(12 * MIB)
    allocator.malloc(20 * MIB)
    assert layout(allocator) == [[(12, "allocated"), (20, "allocated"), (8, "free")]]
    allocator.free(gap)
    assert allocator.malloc(6 * MIB).address == gap.address


# empty_cache: pages that lie wholly within a free block are unmapped, whatever else the segment holds.
def test_emptying_the_cache_unmaps_the_pages_inside_free_blocks():
    allocator = expandable()
    blocks = [allocator.malloc(size * MIB) for size in (10, 75, 15)]
    allocator.free(blocks[1])
    # Free from 10 to 85 MiB: the pages from 20 to 80 MiB lie within.
    allocator.empty_cache()
    assert layout(allocator) == [[(10, "allocated"), (10, "free")], [(5, "free"), (15, "allocated")]]
    assert allocator.reserved_bytes == 40 * MIB


# Gaps first: new pages are mapped at the lowest address where the room is, and close the gap.
def test_an_unmapped_gap_is_filled_before_the_end():
    allocator = expandable()
    blocks = [allocator.malloc(size * MIB) for size in (10, 75, 15)]
    allocator.free(blocks[1])
    allocator.empty_cache()
    assert allocator.malloc(45 * MIB).address == blocks[1].address
    assert layout(allocator) == [
        [(10, "allocated"), (45, "allocated"), (5, "free")],
        [(5, "free"), (15, "allocated")],
    ]
    allocator.malloc(30 * MIB)
    assert layout(allocator) == [[(10, "allocated"), (45, "allocated"), (30, "allocated"), (15, "allocated")]]


def test_a_segment_without_any_page_is_given_up():
    allocator = expandable()
    allocator.free(allocator.malloc(30 * MIB))
    allocator.empty_cache()
    assert allocator.segments() == ()
    assert allocator.reserved_bytes == 0


# Out of memory: whole pages count.
def test_memory_runs_out_by_whole_pages():
    allocator = expandable(capacity_mib=70)
    allocator.malloc(30 * MIB)
    with pytest.raises(OutOfMemory) as caught:
        allocator.malloc(31 * MIB)
    assert caught.value.reserved_bytes == 40 * MIB
    assert allocator.malloc(30 * MIB).nbytes == 30 * MIB
    assert allocator.reserved_bytes == 60 * MIB


# Holes are filled one by one: a failed attempt has mapped the first, which the emptied cache gives back.
def test_a_failed_attempt_counts_in_the_peak():
    allocator = expandable(capacity_mib=80)
    blocks = [allocator.malloc(20 * MIB) for _ in range(4)]
    for index in (0, 2):
        allocator.free(blocks[index])
    allocator.empty_cache()
    allocator.free(blocks[1])
    allocator.malloc(20 * MIB, stream=1)
    allocator.reset_peaks()
    assert allocator.reserved_bytes == 60 * MIB
    with pytest.raises(OutOfMemory) as caught:
        allocator.malloc(60 * MIB)
    assert allocator.peak_reserved_bytes == 80 * MIB
    assert caught.value.reserved_bytes == 40 * MIB


# Retry: pages of one pool are unmapped for the needs of another.
def test_pages_move_between_pools():
    allocator = expandable(capacity_mib=40)
    allocator.free(allocator.malloc(40 * MIB))
    allocator.malloc(1000)
    assert allocator.retries == 1
    assert allocator.reserved_bytes == 2 * MIB


# Address space: 1 1/8 of the memory; when gaps have used it up, there is a second segment.
def test_a_second_segment_when_addresses_run_out():
    allocator = expandable(capacity_mib=80)
    blocks = [allocator.malloc(20 * MIB) for _ in range(4)]
    for block in blocks[::2]:
        allocator.free(block)
    allocator.malloc(35 * MIB)
    # Of 100 MiB of addresses, the gaps of 20 MiB and the last 20 MiB are free, none of them is long enough.
    assert allocator.retries == 1
    assert [segment.nbytes // MIB for segment in allocator.segments()] == [20, 20, 40]
    assert allocator.segments()[-1].address >= 100 * MIB
