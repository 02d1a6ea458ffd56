"""Records for tests, with defaults: a test says only what it is about."""

from __future__ import annotations

from typing import Any

from profiler.measurement import Environment, Measurement, Outcome, Reason
from profiler.spec import TrialSpec

SPEC = {"model": "meta-llama/Llama-3.2-1B", "task": "causal-lm", "method": "lora", "batch_size": 2}
FACTS = {"device_name": "NVIDIA L40S", "torch_version": "2.9.0", "host_cpu_count": 8}
FIGURES = {"peak_reserved_bytes": 5_000_000_000, "step_seconds_median": 0.25, "throttled": False}
REASONS = {
    Outcome.OOM: Reason.CUDA_OOM,
    Outcome.FAILED: Reason.ERROR,
    Outcome.TIMEOUT: Reason.TIME_LIMIT,
    Outcome.SKIPPED: Reason.AFTER_OOM,
}


def trial_spec(**fields: Any) -> TrialSpec:
    """Return a spec with some fields changed; nothing is looked up."""
    return TrialSpec.from_canonical({**SPEC, **fields})


def environment(**facts: Any) -> Environment:
    """Return an environment with some facts added or changed; a fact of None is left out."""
    return Environment(facts={**FACTS, **facts})


def measurement(**fields: Any) -> Measurement:
    """Return a measurement that went well, or, with another `outcome` or a `reason`, one that did not."""
    outcome = fields.get("outcome", Outcome.FAILED if fields.get("reason") else Outcome.OK)
    went_well = outcome is Outcome.OK
    defaults = {
        "spec": trial_spec(),
        "device": "cuda:0",
        "environment": environment(),
        "outcome": outcome,
        "reason": REASONS.get(outcome),
        "figures": FIGURES if went_well else {},
        "step_seconds": (0.25, 0.24, 0.26) if went_well else (),
    }
    return Measurement(**{**defaults, **fields})
