import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.allocator import EMPTY_CACHE, CachingAllocator, OutOfMemory, replay
from tests.estimators.allocator.programs import CAPACITIES, MIB, SIZES


@st.composite
def event_lists(draw):
    """Events and sizes of a program that frees only what is allocated."""
    events, sizes, live = [], [], []
    for kind in draw(st.lists(st.sampled_from("mmmffe"), max_size=60)):
        if kind == "m":
            live.append(len(sizes))
            events.append(len(sizes))
            sizes.append(draw(SIZES))
        elif kind == "e":
            events.append(EMPTY_CACHE)
        elif live:
            events.append(~live.pop(draw(st.integers(0, len(live) - 1))))
    marks = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    return events, sizes, marks


@settings(deadline=None, max_examples=200)
@given(program=event_lists(), capacity=CAPACITIES, expandable=st.booleans())
def test_a_replay_is_what_the_allocator_does_by_hand(program, capacity, expandable):
    events, sizes, marks = program
    allocator = CachingAllocator(capacity_bytes=capacity, expandable_segments=expandable)
    blocks, levels, failed = {}, [], None
    for index, event in enumerate(events):
        allocator.reset_peaks()  # the peak of this event alone
        try:
            if event == EMPTY_CACHE:
                allocator.empty_cache()
            elif event < 0:
                allocator.free(blocks.pop(~event))
            else:
                blocks[event] = allocator.malloc(sizes[event])
        except OutOfMemory as error:
            failed = (index, error.requested_bytes)
        levels.append(
            (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes, allocator.allocated_bytes)
        )
        if failed:
            break

    result = replay(events, sizes, capacity_bytes=capacity, expandable_segments=expandable, marks=marks)
    assert (result.failed_event, result.failed_request_bytes) == (failed or (None, None))
    assert result.retries == allocator.retries
    assert result.final_allocated_bytes == allocator.allocated_bytes
    assert result.final_reserved_bytes == allocator.reserved_bytes
    allocated = [level[0] for level in levels]
    reserved = [level[1] for level in levels]
    assert result.peak_allocated_bytes == max(allocated, default=0)
    assert result.peak_reserved_bytes == max(reserved, default=0)
    if result.peak_reserved_event is None:
        assert not any(reserved)
    else:
        assert result.peak_allocated_event == allocated.index(max(allocated))
        assert result.peak_reserved_event == reserved.index(max(reserved))
        assert result.allocated_at_peak_reserved_bytes == levels[result.peak_reserved_event][2]
    bounds = [0, *marks, len(events)]
    for phase, (start, end) in zip(result.phases, itertools.pairwise(bounds), strict=False):
        within = levels[max(start - 1, 0) : end]
        before = levels[start - 1][2] if start else 0
        assert phase.allocated_bytes == max([before, *(level[0] for level in levels[start:end])])
        assert phase.reserved_bytes <= max((level[1] for level in within), default=0)
        assert phase.reserved_bytes >= max((level[1] for level in levels[start:end]), default=0)
    reached = sum(start <= failed[0] for start in bounds[:-1]) if failed else len(marks) + 1
    assert len(result.phases) == reached


def test_the_figures_of_one_step():
    sizes = [30 * MIB, 12 * MIB, 700, 50 * MIB]
    events = [0, 1, ~0, 2, EMPTY_CACHE, 3, ~3, ~2]
    result = replay(events, sizes)
    assert result.peak_allocated_bytes == 62 * MIB + 1024
    assert result.peak_allocated_event == 5
    # The cache gave 30 MiB back before the 50 MiB came: 12 + 2 + 50.
    assert result.peak_reserved_bytes == 64 * MIB
    assert result.peak_reserved_event == 5
    assert result.allocated_at_peak_reserved_bytes == 62 * MIB + 1024
    assert result.final_allocated_bytes == 12 * MIB
    assert result.final_reserved_bytes == 64 * MIB
    assert (result.retries, result.failed_event, result.failed_request_bytes) == (0, None, None)


def test_a_later_event_that_only_equals_a_peak_does_not_move_it():
    result = replay([0, ~0, 1, ~1], [12 * MIB, 12 * MIB])
    assert (result.peak_allocated_event, result.peak_reserved_event) == (0, 0)


def test_peaks_of_phases():
    sizes = [12 * MIB, 30 * MIB, 14 * MIB]
    result = replay([0, 1, ~1, 2, ~2, ~0], sizes, marks=[2, 3, 5])
    peaks = [(phase.allocated_bytes // MIB, phase.reserved_bytes // MIB) for phase in result.phases]
    # The second phase begins with both tensors, the third with one; the 14 MiB use the free 30.
    assert peaks == [(42, 42), (42, 42), (26, 42), (12, 42)]


def test_a_replay_stops_where_memory_runs_out():
    events = [0, 1, ~0, 2, ~1]
    result = replay(events, [10 * MIB, 20 * MIB, 11 * MIB], capacity_bytes=31 * MIB, marks=[2, 4])
    assert result.failed_event == 3
    assert result.failed_request_bytes == 12 * MIB
    assert result.retries == 1
    assert result.peak_reserved_bytes == 30 * MIB
    assert result.final_allocated_bytes == 20 * MIB
    assert len(result.phases) == 2


def test_expandable_segments_are_replayed():
    sizes = [20 * MIB, 40 * MIB]
    assert replay([0, ~0, 1], sizes).peak_reserved_bytes == 60 * MIB
    assert replay([0, ~0, 1], sizes, expandable_segments=True).peak_reserved_bytes == 40 * MIB


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_arrays_do_as_well_as_lists(dtype):
    events, sizes = [0, EMPTY_CACHE, 1, ~0, EMPTY_CACHE], [30 * MIB, 1000]
    assert replay(np.array(events, dtype), np.array(sizes, np.int64)) == replay(events, sizes)


def test_no_events():
    result = replay([], [])
    assert (result.peak_allocated_bytes, result.peak_reserved_bytes) == (0, 0)
    assert (result.peak_allocated_event, result.peak_reserved_event) == (None, None)


@pytest.mark.parametrize(
    ("events", "marks", "message"),
    [
        ([0, 0], (), "event 1 allocates tensor 0 a second time"),
        ([0, ~1], (), "event 1 frees tensor 1, which is not allocated"),
        ([0, ~0, ~0], (), "event 2 frees tensor 0, which is not allocated"),
        ([0, 3], (), "tensor 3 has no size; there are 3 sizes"),
        ([2], (), "cannot allocate 0 bytes"),
        ([0, 1], (2, 1), "marks must ascend from 0 to 2"),
        ([0, 1], (3,), "marks must ascend from 0 to 2"),
        ([0, 1], (-1,), "marks must ascend from 0 to 2"),
    ],
)
def test_events_that_make_no_sense_are_refused(events, marks, message):
    with pytest.raises(ValueError, match=message):
        replay(events, [100, 100, 0], marks=marks)
