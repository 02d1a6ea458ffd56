"""The harness on a virtual GPU: a fresh process for each trial, as on a real one."""

import os
import signal

import psutil
import pytest

from profiler.devices import find_device
from profiler.devices.virtual import VirtualDevice
from profiler.errors import SizeupError
from profiler.harness import Harness, MeasurementProtocol
from profiler.measurement import Outcome, Reason
from profiler.spec import TrialSpec
from tests.processes import all_gone

MIB = 2**20
SHORT = {"warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 3, "timed_min_seconds": 0}
ENDLESS = {"warmup_min_steps": 1, "warmup_min_seconds": 600, "warmup_stable_cv": 0}


@pytest.fixture
def measure(compiled, tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # locks of the tests' own

    def run(device, *, listener=None, protocol=SHORT, **settings):
        spec = TrialSpec.parse({"model": tiny, "sequence_length": 16, "precision": "fp32", **settings})
        with Harness(device, MeasurementProtocol.parse(protocol), listener=listener) as harness:
            return harness.measure(spec)

    return run


def test_a_trial_becomes_a_row_of_origin_virtual(measure):
    row = measure(find_device("virtual:l40s"), method="lora", allocator="expandable")
    assert (row.outcome, row.message, row.origin, row.device) == (Outcome.OK, None, "virtual", "virtual:l40s")
    assert row.environment.facts["device_name"] == "NVIDIA L40S"
    assert row.environment.facts["driver_version"] == "virtual"
    assert row.step_seconds == ()
    assert row.figures["host_seconds_median"] > 0
    assert row.figures["peak_reserved_bytes"] >= row.figures["peak_allocated_bytes"] > 0
    absent = (
        "step_seconds",
        "power",
        "energy",
        "mfu",
        "tokens_per",
        "samples_per",
        "context",
        "process",
        "sm_",
    )
    assert [name for name in row.figures if any(part in name for part in absent)] == []


def test_a_cap_is_what_torch_sees(measure):
    small = VirtualDevice("t4", memory_bytes=64 * MIB, context_bytes=32 * MIB)
    row = measure(small, batch_size=512)
    assert (row.outcome, row.reason) == (Outcome.OOM, Reason.CUDA_OOM)
    assert "GPU 0 has a total capacity of 64.00 MiB" in row.message
    assert row.figures["oom_reserved_bytes"] <= 32 * MIB


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [("time", Outcome.TIMEOUT, Reason.TIME_LIMIT), ("kill", Outcome.FAILED, Reason.CRASH)],
)
def test_a_trial_that_is_ended_leaves_no_process(end, outcome, reason, measure):
    started = []

    def listen(event):
        if event["event"] == "progress" and not started:
            children = psutil.Process().children()
            started.extend(child.pid for child in children if "profiler.harness.server" in child.cmdline())
            if end == "kill":
                os.kill(started[0], signal.SIGKILL)

    timeout = {"timeout_seconds": 5 if end == "time" else 300}
    row = measure(find_device("virtual:l40s"), listener=listen, protocol={**ENDLESS, **timeout})
    assert (row.outcome, row.reason) == (outcome, reason)
    assert all_gone(started)


@pytest.mark.parametrize(
    ("gpu", "why"),
    [
        ("mi300x", "cannot measure on virtual:mi300x: AMD Instinct MI300X OAM is a GPU of AMD"),
        (
            "v100-sxm2-16gb",
            "cannot measure on virtual:v100-sxm2-16gb: .* has compute capability 7.0, for which",
        ),
    ],
)
def test_a_gpu_that_cannot_be_virtual_is_refused(gpu, why, compiled):
    with pytest.raises(SizeupError, match=f"^{why}"):
        Harness(find_device(f"virtual:{gpu}"))
