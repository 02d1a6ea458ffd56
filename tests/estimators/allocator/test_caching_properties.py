import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.allocator import CachingAllocator, OutOfMemory
from tests.estimators.allocator.programs import CAPACITIES, MIB, PAGE, PROGRAMS, Reference, run


def check(allocator, live, capacity):
    """What must hold at any moment, whatever the program."""
    segments = allocator.segments()
    blocks = [block for segment in segments for block in segment.blocks]
    for one, other in itertools.pairwise(segments):
        assert one.address + one.nbytes <= other.address
    for segment in segments:
        assert segment.blocks[0].address == segment.address
        assert sum(block.nbytes for block in segment.blocks) == segment.nbytes
        for one, other in itertools.pairwise(segment.blocks):
            assert one.address + one.nbytes == other.address
            assert {one.state, other.state} != {"free"}, "free neighbours must have merged"
        assert all(block.nbytes % 512 == 0 and block.nbytes > 0 for block in segment.blocks)
        if segment.is_small:
            assert segment.nbytes % (2 * MIB) == 0
    allocated = {(block.address, block.nbytes) for block in blocks if block.state == "allocated"}
    assert allocated == {(block.address, block.nbytes) for block in live}
    assert len(allocated) == len(live)
    assert allocator.allocated_bytes == sum(nbytes for _, nbytes in allocated)
    assert allocator.reserved_bytes == sum(segment.nbytes for segment in segments)
    assert allocator.allocated_bytes <= allocator.reserved_bytes
    assert allocator.peak_allocated_bytes >= allocator.allocated_bytes
    assert allocator.peak_reserved_bytes >= allocator.reserved_bytes
    assert allocator.peak_allocated_bytes <= allocator.peak_reserved_bytes
    if capacity is not None:
        assert allocator.peak_reserved_bytes <= capacity


@settings(deadline=None)
@given(program=PROGRAMS, capacity=CAPACITIES, expandable=st.booleans())
def test_invariants_hold_after_every_operation(program, capacity, expandable):
    allocator = CachingAllocator(capacity_bytes=capacity, expandable_segments=expandable)
    live = []

    def after(operation, block):
        if operation[0] == "malloc" and block is not None:
            live.append(block)
            assert block.nbytes >= operation[1]
        elif operation[0] == "free":
            live.remove(block)
        check(allocator, live, capacity)

    run(allocator, program, after)


@settings(deadline=None, max_examples=300)
@given(program=PROGRAMS, capacity=CAPACITIES, expandable=st.booleans())
def test_agrees_with_an_allocator_that_keeps_no_free_blocks(program, capacity, expandable):
    allocator = CachingAllocator(capacity_bytes=capacity, expandable_segments=expandable)
    reference = Reference(capacity, expandable)

    def after(operation, block):
        if operation[0] == "malloc":
            assert reference.malloc(*operation[1:]) == (None if block is None else block.address)
        elif operation[0] == "free":
            reference.free(block.address)
        else:
            reference.empty_cache()
        assert allocator.allocated_bytes == reference.allocated_bytes
        assert allocator.reserved_bytes == reference.reserved_bytes
        assert allocator.retries == reference.retries

    run(allocator, program, after)


@settings(deadline=None)
@given(program=PROGRAMS, capacity=st.sampled_from([24 * MIB, 64 * MIB]), expandable=st.booleans())
def test_memory_runs_out_only_when_nothing_can_be_released(program, capacity, expandable):
    allocator = CachingAllocator(capacity_bytes=capacity, expandable_segments=expandable)
    live = []
    for operation in program:
        if operation[0] == "free" and live:
            allocator.free(live.pop(operation[1] % len(live)))
        if operation[0] != "malloc":
            continue
        retries = allocator.retries
        try:
            live.append(allocator.malloc(*operation[1:]))
        except OutOfMemory as caught:
            error = caught
        else:
            assert allocator.retries <= retries + 1
            continue
        assert allocator.retries == retries + 1
        assert error.allocated_bytes == allocator.allocated_bytes
        assert error.reserved_bytes == allocator.reserved_bytes
        assert error.requested_bytes >= operation[1]
        before = allocator.segments()
        allocator.empty_cache()
        assert allocator.segments() == before
        if expandable:
            # At most the pages of the whole request are missing.
            page = PAGE[operation[1] <= MIB]
            assert error.reserved_bytes + -(-operation[1] // page) * page > capacity
        else:
            assert error.reserved_bytes + error.requested_bytes > capacity


@settings(deadline=None)
@given(program=PROGRAMS, expandable=st.booleans())
def test_everything_goes_back_once_all_is_freed(program, expandable):
    allocator = CachingAllocator(expandable_segments=expandable)
    for block in run(allocator, program):
        allocator.free(block)
    assert allocator.allocated_bytes == 0
    assert all(len(segment.blocks) == 1 for segment in allocator.segments())
    allocator.empty_cache()
    assert allocator.reserved_bytes == 0
    assert allocator.segments() == ()


@settings(deadline=None)
@given(program=PROGRAMS, more=PROGRAMS)
def test_a_restored_allocator_goes_on_as_the_first_does(program, more):
    first, second = CachingAllocator(), CachingAllocator()
    live = run(first, program)
    blocks = second.restore(first.segments())
    assert second.segments() == first.segments()
    assert (second.allocated_bytes, second.reserved_bytes) == (first.allocated_bytes, first.reserved_bytes)
    assert {block.address for block in live} == set(blocks)
    for block in live[::2]:
        first.free(block)
        second.free(blocks[block.address])
    # New segments may lie elsewhere: the first knows of addresses that were in use once.
    for allocator in (first, second):
        run(allocator, more)
    shapes = [
        [
            (s.nbytes, s.stream, s.is_small, [(b.nbytes, b.state) for b in s.blocks])
            for s in allocator.segments()
        ]
        for allocator in (first, second)
    ]
    assert shapes[0] == shapes[1]


def test_expandable_segments_cannot_be_restored():
    with pytest.raises(ValueError, match="cannot be restored"):
        CachingAllocator(expandable_segments=True).restore(())
