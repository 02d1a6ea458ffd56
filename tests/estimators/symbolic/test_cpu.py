"""The CPU target against trials that really ran on the CPU, their bytes counted by torch's profiler."""

import pytest

from estimators.memory import peak_tensor_bytes
from estimators.target import Target
from profiler.devices.cpu import CpuDevice
from profiler.errors import NotPossibleError
from profiler.harness import Harness, MeasurementProtocol
from profiler.measurement import Outcome

PROTOCOL = MeasurementProtocol(
    warmup_min_steps=2, warmup_min_seconds=0, timed_min_steps=3, timed_min_seconds=0
)
TRIALS = {
    "lora": {"method": "lora"},
    "raw": {"method": "lora", "loop": "raw"},
    "autocast": {"method": "lora", "precision": "amp-bf16"},
    "full": {"method": "full", "precision": "fp32"},
    "eager": {"method": "full", "precision": "fp32", "attention": "eager", "padding_mask": False},
    "checkpointing": {"method": "full", "gradient_checkpointing": "full"},
    "accumulation": {"method": "head", "gradient_accumulation": 2},
}
# Buffers of each thread inside CPU kernels, and scalars of the host; a millionth of larger models.
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def harness():
    with Harness(CpuDevice(), PROTOCOL) as started:
        yield started


@pytest.mark.parametrize("name", TRIALS)
def test_the_peak_is_the_measured_one(name, trial, tracer, harness):
    spec = trial("llama", batch_size=8, sequence_length=128, **TRIALS[name])
    measured = harness.measure(spec)
    assert measured.outcome is Outcome.OK
    predicted = peak_tensor_bytes(tracer.trace(spec, Target.cpu()))
    assert predicted == pytest.approx(measured.figures["peak_allocated_bytes"], rel=TOLERANCE)


def test_quantised_weights_are_refused(trial, tracer):
    with pytest.raises(NotPossibleError, match="for GPUs only"):
        tracer.trace(trial("llama", method="qlora"), Target.cpu())
