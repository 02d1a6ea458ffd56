"""From measurements to configurations: repeats of one trial in one environment as one, with their spread."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.features.row import method_label
from estimators.learned.table import FeatureFrame, TrainingTable
from estimators.learned.targets import TARGETS
from profiler.measurement import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from estimators.features import FeatureRow
    from profiler.measurement import Environment, Measurement
    from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All repeats of one trial on one device, in one environment, of one origin."""

    spec: TrialSpec
    device: str
    environment: Environment
    origin: str
    first_measured_at: datetime
    figures: dict[str, tuple[float, ...]]
    """Of each figure that can be learned, what the repeats measured; only figures above 0."""
    outcomes: Counter[str] = field(default_factory=Counter)
    bytes_at_oom: int | None = None
    """Where it ran out of memory: the most that was held and asked for, which a run needs at least."""


def configurations(measurements: Iterable[Measurement]) -> list[Configuration]:
    """Return the configurations of some measurements, in the order of their first attempts."""
    attempts: dict[tuple[str, ...], list[Measurement]] = {}
    for measurement in measurements:
        name = (
            measurement.spec.key, measurement.device, measurement.environment.key, measurement.origin,
        )  # fmt: skip
        attempts.setdefault(name, []).append(measurement)
    return [_configuration(of_one) for of_one in attempts.values()]


def _configuration(attempts: Sequence[Measurement]) -> Configuration:
    first = attempts[0]
    figures: dict[str, tuple[float, ...]] = {}
    for name in TARGETS:
        values = [attempt.figures.get(name) for attempt in attempts if attempt.outcome is Outcome.OK]
        known = tuple(float(value) for value in values if value is not None and value > 0)
        if known:
            figures[name] = known
    bounds = [bound for attempt in attempts if (bound := _bytes_at_oom(attempt.figures)) is not None]
    return Configuration(
        spec=first.spec,
        device=first.device,
        environment=first.environment,
        origin=first.origin,
        first_measured_at=min(attempt.measured_at for attempt in attempts),
        figures=figures,
        outcomes=Counter(attempt.outcome.value for attempt in attempts),
        bytes_at_oom=max(bounds, default=None),
    )


def _bytes_at_oom(figures: Any) -> int | None:
    held = figures.get("oom_allocated_bytes")
    return None if held is None else int(held) + int(figures.get("oom_requested_bytes") or 0)


def training_table(target: str, rows: Sequence[tuple[Configuration, FeatureRow]]) -> TrainingTable:
    """Return the table of one figure: a row for each configuration that has it."""
    kept = [(one, features) for one, features in rows if target in one.figures]
    logs = [[math.log(value) for value in one.figures[target]] for one, _ in kept]
    return TrainingTable(
        frame=FeatureFrame.of([features for _, features in kept]),
        values=np.array([statistics.median(one.figures[target]) for one, _ in kept], dtype=float),
        log_spread=np.array([statistics.stdev(of_one) if len(of_one) > 1 else math.nan for of_one in logs]),
        repeats=np.array([len(of_one) for of_one in logs], dtype=np.int64),
        moments=np.array([one.first_measured_at.timestamp() for one, _ in kept]),
        groups=tuple(one.spec.key for one, _ in kept),
        labels=tuple(str(one.spec) for one, _ in kept),
    )


def method_and_model(configuration: Configuration) -> tuple[str, str]:
    """Return what configurations are sampled evenly over."""
    return configuration.spec.model, method_label(configuration.spec)
