"""Trials that end by force: their rows, the next trial, and that no process is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from profiler.devices import CpuDevice
from profiler.errors import SizeupError
from profiler.harness import Harness, MeasurementProtocol
from profiler.measurement import Outcome, Reason
from tests.processes import all_gone, descendants, with_marker
from tests.profiler.harness.conftest import ENDLESS, SHORT

ROOT = Path(__file__).parents[3]


def on(event_name, action):
    """A listener that acts once, on the first event of a name."""
    done = []

    def listen(event):
        if event["event"] == event_name and not done:
            done.append(event)
            action(event)

    return listen


def kill(event):
    os.kill(event["process"], signal.SIGKILL)


def server():
    """The process that trials are forked from."""
    return next(p for p in psutil.Process().children() if "profiler.harness.server" in p.cmdline())


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "9"), (signal.SIGSEGV, "11")])
def test_a_crash_is_a_row_that_may_be_tried_again(number, name, measure, spec):
    listen = on("started", lambda event: os.kill(event["process"], number))
    row = measure(spec(), listener=listen, **ENDLESS)
    assert (row.outcome, row.reason) == (Outcome.FAILED, Reason.CRASH)
    assert f"the process was killed by signal {name}" in row.message
    assert not row.is_finished
    assert measure(spec(method="lora")).outcome is Outcome.OK


def test_a_process_that_the_kernel_killed_for_memory(measure, spec, monkeypatch):
    kills = {"count": 5}
    monkeypatch.setattr("profiler.harness.kernel._count", lambda _path: kills["count"])

    def die(event):
        kills["count"] += 1
        kill(event)

    row = measure(spec(), listener=on("started", die), **ENDLESS)
    assert (row.outcome, row.reason) == (Outcome.OOM, Reason.HOST_OOM)
    assert row.is_finished
    row = measure(spec(), listener=on("started", kill), **ENDLESS)
    assert (row.outcome, row.reason) == (Outcome.FAILED, Reason.CRASH)


def test_a_server_that_is_killed_takes_its_trial_along_and_is_replaced(measure, spec):
    started = []

    def listen(event):
        if event["event"] == "started":
            started.append(event["process"])
            started.append(server().pid)
            server().kill()

    row = measure(spec(), listener=listen, **ENDLESS)
    assert (row.outcome, row.reason) == (Outcome.FAILED, Reason.CRASH)
    assert all_gone(started)
    assert measure(spec(method="lora")).outcome is Outcome.OK


def test_a_server_that_dies_between_trials_is_replaced(measure, spec):
    assert measure(spec(method="lora")).outcome is Outcome.OK
    before = server()
    before.kill()
    assert all_gone([before.pid])
    assert measure(spec(method="lora")).outcome is Outcome.OK
    assert server().pid != before.pid


def test_ctrl_c_leaves_no_process_and_a_harness_that_works(measure, spec):
    seen = []

    def interrupt(_event):
        seen.extend(descendants(of="profiler.harness"))  # other tests keep processes of their own
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(spec(), listener=on("progress", interrupt), **ENDLESS)
    assert len(seen) >= 2  # the server and the trial
    assert all_gone(seen)
    assert measure(spec(method="lora")).outcome is Outcome.OK


def test_a_trial_is_killed_before_anything_else(measure, spec):
    scores = []
    listen = on(
        "started",
        lambda event: scores.append(Path(f"/proc/{event['process']}/oom_score_adj").read_text().strip()),
    )
    measure(spec(method="lora"), listener=listen)
    assert scores == ["1000"]
    assert Path(f"/proc/{server().pid}/oom_score_adj").read_text().strip() != "1000"


def test_each_trial_is_a_fresh_process(measure, spec):
    ids = []
    for _ in range(2):
        measure(spec(method="lora"), listener=on("started", lambda event: ids.append(event["process"])))
    assert len(set(ids)) == 2
    assert all_gone(ids)


def test_closing_ends_every_process(spec):
    before = set(descendants())
    with Harness(CpuDevice()) as harness:
        harness.protocol = harness.protocol.model_copy(update=SHORT)
        assert harness.measure(spec(method="lora")).outcome is Outcome.OK
        own = set(descendants()) - before
        assert own
    assert all_gone(own)
    harness.close()  # once more is no matter


SUPERVISOR = """
import json, sys
from profiler.devices import CpuDevice
from profiler.harness import Harness
from profiler.harness.protocol import MeasurementProtocol
from profiler.spec import TrialSpec

def tell(event):
    print(event["event"], event.get("process", ""), flush=True)

protocol = MeasurementProtocol.parse(json.loads(sys.argv[1]))
with Harness(CpuDevice(), protocol, listener=tell) as harness:
    harness.measure(TrialSpec.parse({"model": sys.argv[2], "sequence_length": 16, "precision": "fp32"}))
"""


@pytest.mark.parametrize("moment", ["started", "progress"])
def test_trials_die_with_their_supervisor(moment, tiny, tmp_path):
    import json

    marker = str(tmp_path)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, json.dumps(ENDLESS), tiny],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SIZEUP_TEST": marker},
        text=True,
    )
    try:
        assert any(line.startswith(moment) for line in supervisor.stdout)
        family = with_marker("SIZEUP_TEST", marker)
        assert len(family) >= 3  # supervisor, server, trial
    finally:
        supervisor.kill()
        supervisor.wait()
    assert all_gone(family)
    assert with_marker("SIZEUP_TEST", marker) == []


def test_a_server_that_cannot_start_is_a_sentence_with_what_it_said(spec, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Harness(CpuDevice()) as harness,
        pytest.raises(SizeupError, match=r"the process for trials did not start: .*this torch is broken"),
    ):
        harness.measure(spec())


def test_a_profiler_of_the_user_does_not_stand_for_ours(spec, tmp_path, monkeypatch):
    (tmp_path / "profiler.py").write_text("raise ImportError('this is the profiler of the user')")
    monkeypatch.chdir(tmp_path)
    with Harness(CpuDevice(), MeasurementProtocol.parse(SHORT)) as harness:
        assert harness.measure(spec()).outcome is Outcome.OK


def test_a_device_that_is_not_there_is_a_sentence(monkeypatch):
    from profiler.devices import CudaDevice
    from profiler.errors import NotPossibleError

    def refuse(_index):
        raise NotPossibleError("no NVIDIA driver answers: it is not loaded")

    monkeypatch.setattr("profiler.devices.cuda.gpu_state", refuse)
    with pytest.raises(SizeupError, match="cannot measure on cuda:0: no NVIDIA driver answers"):
        Harness(CudaDevice())


def test_the_supervisor_holds_no_torch():
    code = (
        "import sys; from profiler.devices import find_device; from profiler.harness import Harness;"
        "import profiler.sweep.runner; Harness(find_device('cpu')).close(); print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
