import csv
import gzip
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.allocator import CachingAllocator
from estimators.allocator.recorded import RecordedEvent, Recording, compare, rewind
from profiler.errors import UsageError
from tests.estimators.allocator.programs import MIB, PROGRAMS, run


def record(program, *, begin, capacity=None):
    """Record what a program does on the simulator, from operation `begin` on, and the state before that."""
    allocator = CachingAllocator(capacity_bytes=capacity)
    events, states, starts = [], [allocator.segments()], [0]

    def after(operation, block):
        before = {segment.address: segment for segment in states[-1]}
        now = {segment.address: segment for segment in allocator.segments()}
        for action, segments in (
            ("segment_free", before.keys() - now),
            ("segment_alloc", now.keys() - before),
        ):
            for address in sorted(segments):
                segment = (before | now)[address]
                events.append(
                    RecordedEvent(
                        action=action, address=address, nbytes=segment.nbytes, stream=segment.stream
                    )
                )
        if block is not None:
            action = "alloc" if operation[0] == "malloc" else "free_completed"
            nbytes = requested.setdefault(block.address, 0) if action != "alloc" else operation[1]
            requested[block.address] = nbytes
            events.append(
                RecordedEvent(action=action, address=block.address, nbytes=nbytes, stream=block.pool.stream)
            )
        states.append(allocator.segments())
        starts.append(len(events))

    requested = {}
    run(allocator, program, after)
    begin = min(begin, len(states) - 1)
    return Recording(events=tuple(events[starts[begin] :]), final=allocator.segments()), states[begin]


@settings(deadline=None, max_examples=200)
@given(program=PROGRAMS, begin=st.integers(0, 40), capacity=st.sampled_from([None, 64 * MIB]))
def test_a_recording_replays_from_any_moment(program, begin, capacity):
    recording, state = record(program, begin=begin, capacity=capacity)
    origin = rewind(recording)
    if not origin.open_bytes:
        assert origin.segments == state
        comparison = compare(recording)
        assert comparison.difference is None
        assert comparison.segments == recording.final
        assert comparison.allocations == sum(event.action == "alloc" for event in recording.events)


def test_the_size_of_an_older_block_is_left_open_if_a_free_block_follows():
    # 9 MiB, and the free rest of 30 MiB after it: was it 9 MiB, or up to 10 MiB and not split?
    program = [
        ("malloc", 30 * MIB, 0),
        ("free", 0),
        ("malloc", 9 * MIB, 0),
        ("malloc", 9 * MIB, 0),
        ("free", 1),
        ("free", 0),
    ]
    recording, state = record(program, begin=5)
    (address,) = rewind(recording).open_bytes
    assert address == state[0].address
    assert rewind(recording).open_bytes[address] == MIB


def test_the_rest_that_was_not_split_off_is_known_where_no_free_block_follows():
    program = [
        ("malloc", 20 * MIB, 0),
        ("free", 0),
        ("malloc", 19 * MIB, 0),
        ("free", 0),
        ("malloc", 20 * MIB, 0),
    ]
    recording, state = record(program, begin=3)
    assert state[0].blocks[0].nbytes == 20 * MIB
    assert rewind(recording) == replace(rewind(recording), segments=state, open_bytes={})


PROGRAM = [
    ("malloc", 30 * MIB, 0),
    ("malloc", 2 * MIB, 0),
    ("free", 0),
    ("empty_cache",),
    ("malloc", 3 * MIB, 0),
]


def changed(recording, which, **changes):
    events = list(recording.events)
    index = next(index for index, event in enumerate(events) if event.action == which)
    events[index] = replace(events[index], **changes)
    return replace(recording, events=tuple(events))


@pytest.mark.parametrize(
    ("action", "changes", "difference"),
    [
        ("segment_alloc", {"nbytes": 32 * MIB}, "a segment of 31457280 bytes is needed"),
        ("alloc", {"nbytes": 2 * MIB}, "a segment of 20971520 bytes is needed"),
    ],
)
def test_the_first_difference_is_told(action, changes, difference):
    recording, _ = record(PROGRAM, begin=0)
    assert compare(recording).difference is None
    assert difference in compare(changed(recording, action, **changes)).difference


def test_another_address_is_told():
    recording, _ = record([("malloc", 4 * MIB, 0), ("malloc", 4 * MIB, 0)], begin=0)
    first, *rest = (event for event in recording.events if event.action == "alloc")
    events = (recording.events[0], *rest, first)
    comparison = compare(replace(recording, events=events))
    assert "is put at 0x0" in comparison.difference
    assert comparison.allocations == 0


def test_an_emptied_cache_that_gives_back_other_segments_is_told():
    program = [("malloc", 30 * MIB, 0), ("malloc", 32 * MIB, 0), ("free", 0), ("free", 0), ("empty_cache",)]
    recording, _ = record(program, begin=2)
    cached, _ = record(program[:-1], begin=2)
    *events, kept = recording.events
    final = tuple(segment for segment in cached.final if segment.address == kept.address)
    comparison = compare(Recording(events=tuple(events), final=final))
    assert comparison.difference == "an emptied cache gives back 2 segments; 1 were recorded"
    assert comparison.releases == 0


def test_another_end_is_told():
    recording, _ = record(PROGRAM, begin=0)
    segment = recording.final[0]
    final = (replace(segment, stream=segment.stream + 1), *recording.final[1:])
    assert compare(replace(recording, final=final)).difference == "the segments and blocks at the end differ"


def test_a_trace_that_contradicts_its_end_is_refused():
    recording, _ = record(PROGRAM, begin=0)
    with pytest.raises(UsageError, match="contradict each other"):
        rewind(replace(recording, final=()))
    with pytest.raises(UsageError, match="contradict each other"):
        rewind(changed(recording, "free_completed", address=recording.events[-1].address))


def write(recording, folder):
    trace, final = folder / "x.trace.csv.gz", folder / "x.final_blocks.csv.gz"
    with gzip.open(trace, "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seq", "action", "addr", "size_bytes", "stream", "dt_us"])
        for event in recording.events:
            if event.action == "free_completed":
                rows.writerow([0, "free_requested", event.address, event.nbytes, event.stream, ""])
            rows.writerow([0, event.action, event.address, event.nbytes, event.stream, ""])
    with gzip.open(final, "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["segment_addr", "segment_bytes", "segment_type", "stream", "block_addr", "block_bytes", "state"]
        )
        for segment in recording.final:
            kind = "small" if segment.is_small else "large"
            for block in segment.blocks:
                state = "active_allocated" if block.state == "allocated" else "inactive"
                rows.writerow(
                    [
                        segment.address,
                        segment.nbytes,
                        kind,
                        segment.stream,
                        block.address,
                        block.nbytes,
                        state,
                    ]
                )
    return trace, final


def write_plain(final, state):
    """The same table, not compressed and with another state."""
    plain = final.with_suffix("")
    plain.write_text(gzip.decompress(final.read_bytes()).decode().replace("active_allocated", state))
    return plain


def test_a_recording_is_read_from_its_two_files(tmp_path):
    recording, _ = record(PROGRAM, begin=1)
    trace, final = write(recording, tmp_path)
    assert Recording.read(trace, final) == recording
    assert Recording.read(trace, write_plain(final, "active_awaiting_free")) == recording


def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path):
    recording, _ = record(PROGRAM, begin=0)
    trace, final = write(recording, tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        Recording.read(tmp_path / "missing.csv", final)
    with pytest.raises(UsageError, match="is not part of a recording"):
        Recording.read(final, final)
    with pytest.raises(UsageError, match="holds the state 'allocated'"):
        Recording.read(trace, write_plain(final, "allocated"))
    trace.write_bytes(trace.read_bytes()[:-20])
    with pytest.raises(UsageError, match="is not part of a recording"):
        Recording.read(trace, final)
    for changes, message in (
        ({"action": "segment_map"}, "'segment_map'"),
        ({"nbytes": 0}, "size_bytes below 1"),
    ):
        trace, _ = write(changed(recording, "alloc", **changes), tmp_path)
        with pytest.raises(UsageError, match=message):
            Recording.read(trace, final)
