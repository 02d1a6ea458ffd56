"""Each rule of PyTorch's allocator on an example that can be followed by hand."""

import pytest

from estimators.allocator import CachingAllocator, OutOfMemory

MIB = 1 << 20


def layout(allocator):
    """The segments as lists of (MiB, state)."""
    return [[(block.nbytes / MIB, block.state) for block in s.blocks] for s in allocator.segments()]


def reserved_for(*requests, **options):
    allocator = CachingAllocator(**options)
    for request in requests:
        allocator.malloc(request)
    return allocator.reserved_bytes


# Rounding: every request to a multiple of 512 bytes.
@pytest.mark.parametrize(("request_bytes", "block_bytes"), [(1, 512), (512, 512), (513, 1024), (5000, 5120)])
def test_requests_are_rounded_to_512_bytes(request_bytes, block_bytes):
    allocator = CachingAllocator()
    assert allocator.malloc(request_bytes).nbytes == block_bytes
    assert allocator.allocated_bytes == block_bytes


# Segments: 2 MiB up to 1 MiB, 20 MiB below 10 MiB, from there on to measure in steps of 2 MiB.
@pytest.mark.parametrize(
    ("request_bytes", "segment_mib"),
    [
        (1, 2),
        (MIB, 2),
        (MIB + 1, 20),
        (10 * MIB - 512, 20),
        (10 * MIB - 511, 10),  # rounds to 10 MiB before the size of the segment is chosen
        (10 * MIB, 10),
        (10 * MIB + 1, 12),
        (100 * MIB - 1, 100),
    ],
)
def test_segment_sizes(request_bytes, segment_mib):
    assert reserved_for(request_bytes) == segment_mib * MIB


# Pools: small requests never use the free rest of a large segment, nor the other way round.
def test_small_and_large_requests_have_pools_of_their_own():
    assert reserved_for(2 * MIB, MIB) == 22 * MIB
    assert reserved_for(MIB, 2 * MIB) == 22 * MIB


# Small pool: split whenever 512 bytes are left.
def test_a_small_block_is_split_down_to_512_bytes():
    allocator = CachingAllocator()
    allocator.malloc(MIB)
    allocator.malloc(MIB - 512)
    assert layout(allocator) == [[(1, "allocated"), (1 - 512 / MIB, "allocated"), (512 / MIB, "free")]]


# Large pool: split only if more than 1 MiB is left; else the rest counts as allocated.
@pytest.mark.parametrize(
    ("request_bytes", "block_bytes"), [(19 * MIB, 20 * MIB), (19 * MIB - 512, 19 * MIB - 512)]
)
def test_a_large_block_keeps_a_rest_of_up_to_1_mib(request_bytes, block_bytes):
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(20 * MIB))
    assert allocator.malloc(request_bytes).nbytes == block_bytes
    assert allocator.allocated_bytes == block_bytes
    assert allocator.reserved_bytes == 20 * MIB


# Best fit: the smallest free block that is large enough, not the first.
def test_the_smallest_block_that_fits_is_used():
    allocator = CachingAllocator()
    blocks = [allocator.malloc(size * MIB) for size in (40, 14, 30)]
    for block in blocks:
        allocator.free(block)
    assert allocator.malloc(13 * MIB).address == blocks[1].address


# Ties: of equal blocks the one of the oldest segment, and in it the lowest.
def test_of_equal_blocks_the_lowest_is_used():
    allocator = CachingAllocator()
    first, second = allocator.malloc(14 * MIB), allocator.malloc(14 * MIB)
    allocator.free(second)
    allocator.free(first)
    assert allocator.malloc(14 * MIB) is first


# Addresses: told where segments lie, the lowest address wins, as in PyTorch before 2.14.
def test_addresses_of_segments_can_be_given():
    addresses = iter([500 * MIB, 100 * MIB])
    allocator = CachingAllocator(address_of=lambda nbytes: next(addresses))
    first, second = allocator.malloc(14 * MIB), allocator.malloc(14 * MIB)
    assert (first.address, second.address) == (500 * MIB, 100 * MIB)
    allocator.free(first)
    allocator.free(second)
    assert allocator.malloc(14 * MIB) is second


# Streams: a block is only used again on its own stream.
def test_streams_share_nothing():
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(12 * MIB, stream=1))
    allocator.malloc(12 * MIB, stream=2)
    assert allocator.reserved_bytes == 24 * MIB
    allocator.malloc(12 * MIB, stream=1)
    assert allocator.reserved_bytes == 24 * MIB
    assert [segment.stream for segment in allocator.segments()] == [1, 2]


# Merging: a freed block becomes one with the free blocks on either side.
def test_free_neighbours_merge():
    allocator = CachingAllocator()
    blocks = [allocator.malloc(4 * MIB) for _ in range(5)]
    for index in (0, 2, 1):
        allocator.free(blocks[index])
    assert layout(allocator) == [[(12, "free"), (4, "allocated"), (4, "allocated")]]
    allocator.free(blocks[4])
    allocator.free(blocks[3])
    assert layout(allocator) == [[(20, "free")]]


# empty_cache: only segments that are one free block go back.
def test_emptying_the_cache_keeps_split_segments():
    allocator = CachingAllocator()
    kept = allocator.malloc(4 * MIB)
    allocator.free(allocator.malloc(50 * MIB))
    allocator.free(allocator.malloc(1000))
    assert allocator.reserved_bytes == 72 * MIB
    allocator.empty_cache()
    assert layout(allocator) == [[(4, "allocated"), (16, "free")]]
    allocator.free(kept)
    allocator.empty_cache()
    assert allocator.reserved_bytes == 0


# Retry: when the device is full, all unsplit cached segments go back, of both pools and all streams.
def test_a_full_device_empties_the_cache_and_retries():
    allocator = CachingAllocator(capacity_bytes=60 * MIB)
    allocator.free(allocator.malloc(30 * MIB))
    allocator.free(allocator.malloc(20 * MIB, stream=1))
    allocator.free(allocator.malloc(1000))
    allocator.malloc(40 * MIB)
    assert allocator.retries == 1
    assert allocator.reserved_bytes == 40 * MIB
    assert allocator.peak_reserved_bytes == 52 * MIB


# Out of memory: after the retry; what PyTorch asked for is the segment, and the cache stays empty.
def test_out_of_memory_after_the_retry():
    allocator = CachingAllocator(capacity_bytes=60 * MIB)
    held = allocator.malloc(30 * MIB)
    allocator.free(allocator.malloc(20 * MIB))
    with pytest.raises(OutOfMemory, match="41943040 bytes requested") as caught:
        allocator.malloc(39 * MIB)
    assert caught.value.requested_bytes == 40 * MIB
    assert caught.value.allocated_bytes == 30 * MIB
    assert caught.value.reserved_bytes == 30 * MIB
    assert allocator.retries == 1
    # The program may go on.
    allocator.free(held)
    assert allocator.malloc(39 * MIB).nbytes == 40 * MIB


# Fragmentation: the free rest of split segments cannot be given back, whatever their sum.
def test_memory_runs_out_on_split_segments():
    allocator = CachingAllocator(capacity_bytes=60 * MIB)
    blocks = [allocator.malloc(5 * MIB) for _ in range(12)]
    for index, block in enumerate(blocks):
        if index % 4:
            allocator.free(block)
    assert allocator.allocated_bytes == 15 * MIB
    with pytest.raises(OutOfMemory):
        allocator.malloc(16 * MIB)
    assert allocator.reserved_bytes == 60 * MIB


def test_peaks_begin_anew_at_what_is_there():
    allocator = CachingAllocator()
    kept = allocator.malloc(12 * MIB)
    allocator.free(allocator.malloc(30 * MIB))
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (42 * MIB, 42 * MIB)
    allocator.reset_peaks()
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (12 * MIB, 42 * MIB)
    allocator.free(kept)
    allocator.empty_cache()
    allocator.reset_peaks()
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (0, 0)


@pytest.mark.parametrize("nbytes", [0, -1])
def test_an_empty_request_is_refused(nbytes):
    with pytest.raises(ValueError, match="at least 1"):
        CachingAllocator().malloc(nbytes)


def test_a_block_is_freed_once():
    allocator = CachingAllocator()
    first, second = allocator.malloc(1000), allocator.malloc(1000)
    for block in (first, second):
        allocator.free(block)
    for block in (first, second):  # the second is part of the first by now
        with pytest.raises(ValueError, match="is not allocated"):
            allocator.free(block)
