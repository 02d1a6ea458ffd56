"""An invented world whose law of memory and time is known, and measurements made in it."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.features import Place, StepTotals, feature_row
from estimators.learned import configurations, training_table
from profiler.measurement import Measurement, Outcome
from profiler.spec import TrialSpec
from tests.factories import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from estimators.features import FeatureRow
    from estimators.learned import TrainingTable

LAYERS = {"small": 6, "middle": 12, "large": 24, "wide": 16, "deep": 40, "odd": 20}
METHODS = {"full": 1.0, "lora": 0.4, "ia3": 0.3, "bitfit": 0.25, "ln-tuning": 0.28, "vera": 0.5}
"""Operators and FLOPs that a method's step has, of those of `full`."""
FACTS = {"device_name": "a processor", "host_cpu": "a processor", "torch_version": "2.14.1"}
HERE = Place.of("cpu", FACTS)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def spec(model: str = "small", method: str = "lora", **settings: Any) -> TrialSpec:
    """Return a trial of the world; nothing is looked up."""
    return TrialSpec.from_canonical({"model": model, "task": "causal-lm", "method": method, **settings})


def totals(trial: TrialSpec) -> StepTotals:
    """Return what tracing a trial would find."""
    layers, share = LAYERS.get(trial.model, 30), METHODS.get(trial.method, 0.6)
    tokens = trial.batch_size * trial.sequence_length * trial.gradient_accumulation
    parameters = layers * 1e6
    flops = 6 * parameters * tokens * (0.5 + share / 2)
    is_half = trial.precision in ("bf16", "fp16")
    width = 2 if is_half else 4
    return StepTotals(
        trainable_parameters=parameters * share**4,
        total_parameters=parameters,
        modules=layers * 10,
        operators=layers * 100 * (1 + share),
        operators_backward=layers * 60 * share,
        operators_optimizer=layers * 40 * share,
        flops_16bit=flops if is_half else 0,
        flops_other=0 if is_half else flops,
        bytes_moved=width * (parameters * (1 + 4 * share) + tokens * layers * 4000),
        predicted_allocated_bytes=width * (parameters * (1 + 3 * share) + tokens * layers * 1000),
        predicted_reserved_bytes=None,
    )


def row(trial: TrialSpec, place: Place = HERE) -> FeatureRow:
    """Return the features of a trial."""
    return feature_row(trial, place, totals(trial))


def true_seconds(trial: TrialSpec) -> float:
    """Return the law of time; a method has an efficiency of its own that no total tells."""
    of = totals(trial)
    rate = 1e12 if of.flops_16bit else 4e11
    work = (of.flops_16bit + of.flops_other) / rate
    return (5e-6 * of.operators + work + of.bytes_moved / 5e10) * (1 + len(trial.method) / 50)


def true_bytes(trial: TrialSpec) -> float:
    """Return the law of the process's memory: tensors, and what the process takes besides."""
    return 1.01 * totals(trial).predicted_allocated_bytes + 5e7


def measured(trial: TrialSpec, *, seed: int = 0, repeats: int = 3, **fields: Any) -> list[Measurement]:
    """Return repeats of a trial, with 2 % noise in time and 0.2 % in memory."""
    chance = np.random.default_rng([seed, int(trial.key[:8], 16)])
    defaults = {"device": "cpu", "environment": environment(**FACTS), "outcome": Outcome.OK}
    return [
        Measurement(
            spec=trial,
            repeat=repeat,
            figures={
                "step_seconds_median": true_seconds(trial) * math.exp(0.02 * chance.standard_normal()),
                "peak_process_bytes": round(true_bytes(trial) * math.exp(0.002 * chance.standard_normal())),
                "peak_allocated_bytes": round(totals(trial).predicted_allocated_bytes),
            },
            measured_at=BEGAN + timedelta(seconds=seed + repeat),
            **{**defaults, **fields},
        )
        for repeat in range(1, repeats + 1)
    ]


def trials(
    models: Iterable[str] = ("small", "middle", "large"),
    methods: Iterable[str] = tuple(METHODS),
    batch_sizes: Iterable[int] = (1, 2, 4),
    **settings: Any,
) -> list[TrialSpec]:
    """Return every combination."""
    return [
        spec(model, method, batch_size=batch_size, **settings)
        for model, method, batch_size in itertools.product(models, methods, batch_sizes)
    ]


def table_of(
    chosen: Sequence[TrialSpec], target: str = "step_seconds_median", *, seed: int = 0
) -> TrainingTable:
    """Return the training table of trials measured in the world, one after the other."""
    found = configurations(
        measurement
        for number, trial in enumerate(chosen)
        for measurement in measured(trial, seed=seed + 10 * number)
    )
    return training_table(target, [(one, row(one.spec)) for one in found])
