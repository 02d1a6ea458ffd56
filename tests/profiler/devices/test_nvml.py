"""NVML through a stand-in for its library, in processes of their own, and its figures from samples."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.devices.nvml import THROTTLE_REASONS, Sample, is_busy, summarize

FAKE = Path(__file__).with_name("fake_nvml")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def ask():
    """Run code in a process that has the stand-in, and return what it prints as JSON."""

    def run(code, *, refused=""):
        path = os.pathsep.join([str(FAKE), str(ROOT)])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path, "FAKE_NVML": refused},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


STATE = """
import json
from dataclasses import asdict
from profiler.devices.nvml import gpu_state, gpu_count
print(json.dumps({**asdict(gpu_state(0)), "count": gpu_count()}))
"""

SAMPLE = """
import json, os, pynvml
from dataclasses import asdict
from profiler.devices.nvml import take_sample
print(json.dumps(asdict(take_sample(pynvml, "handle", os.getppid()))))
"""

SAMPLER = """
import json, os, time
from dataclasses import asdict
from profiler.devices.nvml import Sampler
before = time.monotonic()
with Sampler({index}, os.getpid()) as sampler:
    time.sleep(1)
    found = sampler.stop()
    again = sampler.stop()
after = time.monotonic()
assert again is found
assert all(before <= sample.monotonic_seconds <= after for sample in found)
print(json.dumps([asdict(sample) for sample in found]))
"""

REFUSAL = """
import json
from profiler.errors import NotPossibleError
from profiler.devices.nvml import gpu_state
try:
    gpu_state({index})
except NotPossibleError as error:
    print(json.dumps(str(error)))
"""

DEVICE = """
import json
from profiler.devices import find_device
from profiler.spec import TrialSpec
device = find_device()
spec = TrialSpec.from_canonical({"model": "x", "task": "causal-lm", "allocator": "expandable"})
print(json.dumps({
    "name": device.name, "facts": device.facts(), "variables": device.child_environment(spec),
    "peaks": {p: device.peak_flops_per_second(p) for p in ("bf16", "amp-bf16", "fp32")},
}))
"""


def test_the_state_of_a_gpu(ask):
    state = ask(STATE)
    assert state.pop("processes")[1] == 1
    assert state == {
        "index": 0,
        "name": "NVIDIA L40S",
        "uuid": "GPU-1234",
        "driver_version": "580.1",
        "memory_total_bytes": 48_305_799_168,
        "memory_used_bytes": 700_000_000,
        "power_limit_watts": 350.0,
        "sm_clock_mhz": 2520,
        "max_sm_clock_mhz": 2550,
        "temperature_celsius": 41,
        "count": 1,
    }


@pytest.mark.parametrize(
    ("function", "unknown"),
    [
        ("nvmlDeviceGetMemoryInfo", {"memory_total_bytes", "memory_used_bytes"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_watts"}),
        ("nvmlDeviceGetUUID", {"uuid"}),
        ("nvmlDeviceGetTemperature", {"temperature_celsius"}),
    ],
)
def test_what_a_card_does_not_tell_is_absent(function, unknown, ask):
    state = ask(STATE, refused=function)
    assert {name for name, value in state.items() if value is None} == unknown
    assert ask(STATE, refused="processes")["processes"] == []


def test_a_sample(ask):
    sample = ask(SAMPLE)
    assert sample.pop("monotonic_seconds") > 0
    assert sample == {
        "device_used_bytes": 700_000_000,
        "process_used_bytes": 5_000,
        "process_count": 2,
        "utilization_percent": 77,
        "power_watts": 123.456,
        "sm_clock_mhz": 2520,
        "temperature_celsius": 41,
        "throttle_reasons": 4,
    }


@pytest.mark.parametrize(
    ("refused", "unknown"),
    [
        ("memory", {"process_used_bytes"}),
        ("processes", {"process_used_bytes", "process_count"}),
        ("nvmlDeviceGetPowerUsage", {"power_watts"}),
        ("nvmlDeviceGetCurrentClocksEventReasons", {"throttle_reasons"}),
        ("nvmlDeviceGetUtilizationRates,nvmlDeviceGetClockInfo", {"utilization_percent", "sm_clock_mhz"}),
    ],
)
def test_a_sample_of_a_card_that_does_not_tell_all(refused, unknown, ask):
    sample = ask(SAMPLE, refused=refused)
    assert {name for name, value in sample.items() if value is None} == unknown


def test_the_sampler_watches_until_it_is_stopped(ask):
    samples = ask(SAMPLER.format(index=0))
    assert samples
    assert {sample["process_used_bytes"] for sample in samples} == {5_000}
    times = [sample["monotonic_seconds"] for sample in samples]
    assert times == sorted(times)


@pytest.mark.parametrize(("index", "refused"), [(0, "driver"), (1, "")])
def test_a_sampler_without_a_gpu_has_no_samples(index, refused, ask):
    assert ask(SAMPLER.format(index=index), refused=refused) == []


def test_without_a_driver_or_such_a_gpu_there_is_a_sentence(ask):
    assert ask(REFUSAL.format(index=0), refused="driver") == "no NVIDIA driver answers: Driver Not Loaded"
    assert ask(REFUSAL.format(index=1)) == "there is no GPU 1: the driver knows 1"


def test_a_gpu_as_a_device(ask):
    found = ask(DEVICE)
    assert found["name"] == "cuda:0"
    assert found["facts"]["device_memory_bytes"] == 48_305_799_168
    assert found["variables"] == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-1234",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    }
    # L40S: 362.05 TFLOPS of dense bf16 in NVIDIA's data sheet.
    assert found["peaks"]["bf16"] == found["peaks"]["amp-bf16"] == pytest.approx(362.05e12, rel=0.001)
    assert found["peaks"]["fp32"] < found["peaks"]["bf16"]
    assert ask(DEVICE, refused="nvmlDeviceGetUUID")["variables"]["CUDA_VISIBLE_DEVICES"] == "0"


def sample(second, **values):
    return Sample(monotonic_seconds=float(second), **values)


def test_figures_are_those_of_the_window():
    looked = [
        sample(0, power_watts=900.0, sm_clock_mhz=1, temperature_celsius=99, throttle_reasons=0x8),
        sample(1, power_watts=100.0, sm_clock_mhz=1000, temperature_celsius=40, throttle_reasons=0x1),
        sample(2, power_watts=200.0, sm_clock_mhz=1500, temperature_celsius=50),
        sample(3, power_watts=300.0, sm_clock_mhz=1100),
        sample(4, power_watts=900.0),
    ]
    assert summarize(looked, started_seconds=1.0, ended_seconds=3.5, steps=5) == {
        "power_watts_mean": 200.0,
        "energy_joules_per_step": 200.0 * 2.5 / 5,
        "sm_clock_mhz_median": 1100.0,
        "temperature_celsius_max": 50.0,
        "throttled": False,
    }


def test_what_no_sample_knows_is_left_out():
    assert summarize([sample(1)], started_seconds=0.0, ended_seconds=2.0, steps=1) == {}
    assert summarize([], started_seconds=0.0, ended_seconds=2.0, steps=1) == {}


@pytest.mark.parametrize("bit", range(10))
def test_only_clocks_below_what_was_asked_for_are_throttling(bit):
    looked = [sample(1, throttle_reasons=0), sample(1, throttle_reasons=1 << bit)]
    figures = summarize(looked, started_seconds=0.0, ended_seconds=2.0, steps=1)
    # nvml.h: 0 idle, 1 application clocks, 2 power cap, 3 hardware slowdown, 4 sync boost, 5 and 6 thermal,
    # 7 power brake, 8 display.
    assert figures["throttled"] == (bit in (2, 3, 5, 6, 7)) == bool(THROTTLE_REASONS & (1 << bit))


def test_others_on_the_device_make_it_busy():
    alone, shared = sample(1, process_count=1), sample(1, process_count=2)
    assert is_busy([alone, shared], processes_before=0) is True
    assert is_busy([alone, alone], processes_before=0) is False
    assert is_busy([alone], processes_before=1) is True
    assert is_busy([sample(1)], processes_before=0) is None
