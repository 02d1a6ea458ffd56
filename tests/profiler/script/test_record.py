from profiler.script.inject.stopping import MOST_STEPS, StepCount
from profiler.script.record import Ending, EventReader, PhasePeak, script_run

FIRST = [
    {"event": "started"},
    {"event": "phase", "phase": "load", "step": 0, "peak_allocated_bytes": 5, "peak_reserved_bytes": 8},
    {"event": "phase", "phase": "forward", "step": 0, "peak_allocated_bytes": 9, "peak_reserved_bytes": 10},
    {"event": "phase", "phase": "forward", "step": 0, "peak_allocated_bytes": 7, "peak_reserved_bytes": 12},
    {"event": "step", "step": 0, "resident_bytes": 6, "reserved_bytes": 12},
    {"event": "count", "what": "saves", "of": "model.safetensors", "times": 1},
]


def run_of(events, **more):
    settings = {"exit_code": 0, "seconds": 1.0, "was_interrupted": False, "snapshot": None, **more}
    return script_run(events, **settings)


def test_a_script_that_was_killed_leaves_what_it_had_said():
    run = run_of(FIRST, exit_code=-9)
    assert (run.ending, run.exit_code, run.steps) == (Ending.KILLED, -9, 1)
    assert (run.peak_allocated_bytes, run.peak_reserved_bytes, run.resident_bytes) == (9, 12, 6)
    assert run.holders is None
    assert run.counts == {"saves": {"model.safetensors": 1}}


def test_the_micro_batches_of_a_step_are_one():
    forward = PhasePeak(step=0, phase="forward", peak_allocated_bytes=9, peak_reserved_bytes=12)
    assert run_of(FIRST).timeline[1:] == (forward,)


def test_what_was_not_seen_is_absent():
    run = run_of([{"event": "started"}, {"event": "end", "outcome": "ended", "used_gpu": False}])
    assert (run.ending, run.used_gpu) == (Ending.ENDED, False)
    assert run.peak_allocated_bytes is run.resident_bytes is run.alloc_retries is None


def test_counts_at_the_end_replace_those_on_the_way():
    more = {"event": "count", "what": "saves", "of": "model.safetensors", "times": 7}
    assert run_of([*FIRST, more]).counts == {"saves": {"model.safetensors": 7}}


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "started"}\n{"event": "st')
    reader = EventReader(path)
    assert reader.read() == [{"event": "started"}]
    assert EventReader(tmp_path / "none").read() == []
    with path.open("a") as file:
        file.write('ep"}\n{"event": "end"}\n')
    assert reader.read() == [{"event": "step"}, {"event": "end"}]
    assert reader.read() == []
    assert [event["event"] for event in reader.events] == ["started", "step", "end"]


def steps_of(peaks, **settings):
    count = StepCount(**{"least": 4, "is_exact": False, **settings})
    for ended, peak in enumerate(peaks, start=1):
        count.end_step(1, (peak, peak))
        if count.is_enough:
            return ended, count.reason
    return None


def test_steps_end_when_peaks_no_longer_grow():
    assert steps_of([1, 2, 2, 2, 2, 2]) == (4, "stable")
    assert steps_of([1, 2, 3, 4, 4, 4, 4]) == (6, "stable")
    assert steps_of(range(100)) == (MOST_STEPS, "steps")
    assert steps_of([1, 1]) is None


def test_a_number_of_steps_is_kept_to():
    assert steps_of(range(100), least=3, is_exact=True) == (3, "steps")
    assert steps_of([1] * 100, least=30, is_exact=True) == (30, "steps")
    assert steps_of(range(100), least=30) == (30, "steps")


def test_several_optimizers_make_one_step():
    count = StepCount(least=2, is_exact=True)
    assert [count.end_step(which, (0, 0)) for which in (1, 2, 1, 2)] == [True, False, True, False]
    assert count.ended == 2
