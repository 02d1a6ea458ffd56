"""What held memory at the peak, told from snapshots of torch's form."""

from profiler.script.inject import user_code
from profiler.script.inject.history import holders_at_peak
from profiler.script.inject.timeline import Border


def frames(line):
    return [{"filename": "/home/me/train.py", "line": line, "name": "<module>"}]


def alloc(address, size, time, line):
    return {"action": "alloc", "addr": address, "size": size, "time_us": time, "frames": frames(line)}


def free(address, size, time):
    return {"action": "free_requested", "addr": address, "size": size, "time_us": time, "frames": []}


def snapshot(*trace, alive=()):
    blocks = [
        {"address": address, "requested_size": size, "state": "active_allocated", "frames": frames(line)}
        for address, size, line in alive
    ]
    return {"device_traces": [list(trace)], "segments": [{"blocks": blocks}]}


BORDERS = [
    Border(microseconds=0, phase="load", step=0, line=None),
    Border(microseconds=100, phase="forward", step=0, line="train.py:5"),
    Border(microseconds=200, phase="backward", step=0, line="train.py:6"),
]


def holders(taken, labels=()):
    found = holders_at_peak(taken, borders=BORDERS, labels=dict(labels))
    return {row["category"]: row["size_bytes"] for row in found["by_category"]}, found


def test_the_peak_is_where_most_was_alive():
    by_category, found = holders(
        snapshot(
            alloc(1, 10, 10, 1),
            alloc(2, 5, 110, 2),
            free(2, 5, 120),
            alloc(3, 3, 210, 3),
            alloc(4, 1, 220, 4),
        )
    )
    assert by_category == {"other": 10, "activations": 5}
    assert (found["phase"], found["step"], found["line"], found["bytes"]) == (
        "forward", 0, "/home/me/train.py:2", 15,
    )  # fmt: skip


def test_an_address_is_what_it_was_at_the_time():
    labels = {1: [(15, "parameters")], 2: [(130, "gradients")]}
    taken = snapshot(alloc(1, 10, 10, 1), alloc(2, 5, 110, 2), free(2, 5, 120), alloc(2, 7, 210, 3))
    assert holders(taken, labels.items())[0] == {"parameters": 10, "temporary": 7}
    labels[2] = [(215, "gradients")]
    assert holders(taken, labels.items())[0] == {"parameters": 10, "gradients": 7}


def test_what_was_there_before_the_trace_counts():
    by_category, _ = holders(snapshot(free(8, 4, 90), alloc(2, 5, 110, 2), alive=[(7, 20, 1), (2, 5, 2)]))
    assert by_category == {"other": 20, "activations": 5}


def test_without_python_frames_the_line_of_the_phase_stands():
    taken = snapshot({**alloc(2, 5, 210, 2), "frames": []})
    _, found = holders(taken)
    assert found["by_line"] == [
        {"line": "train.py:6", "inside": None, "category": "temporary", "size_bytes": 5}
    ]


def test_compiled_code_stands_for_the_line_that_called_it(monkeypatch):
    monkeypatch.setattr(user_code, "_COMPILED", "/tmp/run/inductor")
    compiled = {"filename": "/tmp/run/inductor/nm/cnm.py", "line": 1123, "name": "call"}
    called = {**alloc(2, 5, 110, 2), "frames": [compiled, *frames(2)]}
    alone = {**alloc(3, 7, 210, 3), "frames": [compiled]}
    _, found = holders(snapshot(called, alone))
    assert [(row["line"], row["inside"]) for row in found["by_line"]] == [
        ("train.py:6", "code of torch.compile"),
        ("/home/me/train.py:2", "code of torch.compile"),
    ]


def test_an_empty_history_has_no_holders():
    assert holders(snapshot())[0] == {}
