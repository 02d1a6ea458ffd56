import contextlib

import pytest
import torch

from profiler.spec import TrialSpec
from profiler.workload import Workload

SMALL = {"sequence_length": 16, "batch_size": 2, "precision": "fp32"}


@pytest.fixture
def spec(models):
    """Make a spec of a tiny model: `spec("gpt2", method="lora")`."""

    def make(model="llama", **settings):
        return TrialSpec.parse({"model": models[model], **SMALL, **settings})

    return make


@pytest.fixture
def workload(spec):
    """Make a workload on the CPU, as `spec` makes specs."""

    def make(model="llama", **settings):
        torch.manual_seed(0)
        return Workload(spec(model, **settings), torch.device("cpu"))

    return make


@pytest.fixture
def run_step():
    """Run a step and return its counts."""
    return lambda workload, index=0: workload.step(index, lambda _phase: contextlib.nullcontext())
