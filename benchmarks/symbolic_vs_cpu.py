"""Compares the symbolic engine's CPU target with trials that are measured on this CPU.

Prints predicted and measured peak of tensor bytes, and the signed error. Both run here, so that nothing but
the engine can make a difference.
"""

from __future__ import annotations

from estimators.memory import peak_tensor_bytes
from estimators.symbolic.tracer import Tracer
from estimators.target import Target
from profiler.devices.cpu import CpuDevice
from profiler.harness import Harness, MeasurementProtocol
from profiler.spec import TrialSpec

MODEL = "smollm2-135m"
TRIALS = (
    {"method": "lora"},
    {"method": "lora", "precision": "fp32"},
    {"method": "lora", "precision": "amp-bf16", "batch_size": 2},
    {"method": "dora", "method_options": {"target_modules": "all-linear"}},
    {"method": "ia3", "loop": "raw"},
    {"method": "prefix-tuning", "batch_size": 4},
    {"method": "full", "precision": "fp32"},
    {"method": "full", "gradient_checkpointing": "full"},
    {"method": "full", "attention": "eager", "precision": "fp32", "padding_mask": False},
    {"method": "head", "optimizer": "sgd", "gradient_accumulation": 2},
)
PROTOCOL = MeasurementProtocol(
    warmup_min_steps=3, warmup_min_seconds=0, timed_min_steps=3, timed_min_seconds=0
)


def main() -> None:
    with Tracer() as tracer, Harness(CpuDevice(), PROTOCOL) as harness:
        for settings in TRIALS:
            spec = TrialSpec.parse({"model": MODEL, "sequence_length": 128, **settings})
            predicted = peak_tensor_bytes(tracer.trace(spec, Target.cpu()))
            measured = harness.measure(spec).figures["peak_allocated_bytes"]
            print(f"{spec}: {predicted:,} predicted, {measured:,} measured, {predicted / measured - 1:+.3%}")


if __name__ == "__main__":
    main()
