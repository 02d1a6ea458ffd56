"""A space of trials whose features and figures a formula says; nothing is traced."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from estimators.features import Place, StepTotals
from estimators.learned import Configuration
from profiler.catalog import find_gpu
from tests.factories import environment, trial_spec
from tests.planner.invented_features import invented_source

GIB = 2**30
FACTS = {"device_name": "NVIDIA L40S", "torch_version": "2.9.0"}


def tokens(spec):
    return spec.batch_size * spec.sequence_length


def totals(spec):
    """Return what a trace would sum up: a 1B model whose memory is 4 GiB and 4 MiB a token."""
    memory = 4 * GIB + 4 * 2**20 * tokens(spec)
    return StepTotals(
        trainable_parameters=1e6, total_parameters=1e9, modules=100, operators=2000, operators_backward=1000,
        operators_optimizer=100, flops_16bit=4e9 * tokens(spec), flops_other=1e6, bytes_moved=1e10,
        predicted_allocated_bytes=memory, predicted_reserved_bytes=memory * 1.05,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setattr("planner.suggest.suggesting.FeatureSource", invented_source(totals))


@pytest.fixture
def place():
    return Place.on(find_gpu("l40s"), FACTS)


def step_seconds(spec):
    """Return a step time: 20 ms, and 0.1 ms a token."""
    return 0.02 + 1e-4 * tokens(spec)


def measured(spec, *, seconds=None, **changes):
    """Return a measured configuration."""
    values = {
        "step_seconds_median": (seconds or step_seconds(spec),),
        "peak_reserved_bytes": (totals(spec).predicted_reserved_bytes * 1.01,),
    }
    return Configuration(
        **{
            "spec": spec, "device": "cuda:0", "environment": environment(**FACTS), "origin": "measured",
            "first_measured_at": datetime(2026, 1, 1, tzinfo=UTC), "figures": values,
            "outcomes": Counter(ok=1), **changes,
        }
    )  # fmt: skip


def space(batch_sizes=(1, 2, 4, 8), lengths=(64, 128, 256, 512)):
    return [
        trial_spec(batch_size=batch, sequence_length=length) for batch in batch_sizes for length in lengths
    ]


def noisy(specs, *, seed=0, noise=0.005):
    chance = np.random.default_rng(seed)
    return [
        measured(spec, seconds=step_seconds(spec) * float(np.exp(noise * chance.standard_normal())))
        for spec in specs
    ]
