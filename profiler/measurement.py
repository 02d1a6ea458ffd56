"""One attempt at one spec on one device in one environment: what a row of the table says."""

from __future__ import annotations

import enum
import functools
import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from profiler.spec.frozen import canonical_json, freeze

if TYPE_CHECKING:
    from collections.abc import Mapping

    from profiler.spec import TrialSpec


class Outcome(enum.StrEnum):
    """How an attempt ended."""

    OK = "ok"
    OOM = "oom"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


class Reason(enum.StrEnum):
    """Why an attempt did not end with figures."""

    CUDA_OOM = "cuda-oom"
    HOST_OOM = "host-oom"
    CUBLAS_ALLOC = "cublas-alloc"
    NOT_POSSIBLE = "not-possible"
    ERROR = "error"
    CRASH = "crash"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    DEVICE_LOST = "device-lost"
    AFTER_OOM = "after-oom"
    TIME_LIMIT = "time-limit"

    @property
    def is_transient(self) -> bool:
        """Whether another attempt may end differently."""
        return self in (Reason.CRASH, Reason.UNREACHABLE, Reason.INTERRUPTED, Reason.DEVICE_LOST)


class Phase(enum.StrEnum):
    """Where in a trial something happened."""

    START = "start"
    LOAD = "load"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    EVALUATION = "evaluation"
    SAVE = "save"


# The phases whose peaks are figures of their own.
MEASURED_PHASES = (Phase.LOAD, Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER, Phase.EVALUATION, Phase.SAVE)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One column of figures: its unit is in its name."""

    name: str
    kind: type[int] | type[float] | type[bool] | type[str]
    text: str


def _figures() -> tuple[Figure, ...]:
    figures = [
        Figure(name="peak_allocated_bytes", kind=int, text="Highest bytes held by tensors, whole trial."),
        Figure(name="peak_reserved_bytes", kind=int, text="Highest bytes of the CUDA allocator's segments."),
        Figure(name="peak_process_bytes", kind=int, text="Highest bytes of the process on the device; on the "
               "CPU, resident set above what it was before the model was built."),
        Figure(name="context_bytes", kind=int, text="CUDA context and libraries: process less reserved."),
        Figure(name="resident_bytes", kind=int, text="Bytes held by tensors after a step."),
        Figure(name="warmup_peak_allocated_bytes", kind=int, text="Highest bytes of tensors in warm-up."),
        Figure(name="warmup_peak_reserved_bytes", kind=int, text="Highest reserved bytes in warm-up."),
        Figure(name="warmup_peak_process_bytes", kind=int, text="Highest process bytes until warm-up ended."),
    ]  # fmt: skip
    for tier in ("allocated", "reserved"):
        figures += [
            Figure(name=f"{phase}_peak_{tier}_bytes", kind=int, text=f"Highest {tier} bytes in {phase}.")
            for phase in MEASURED_PHASES
        ]
    return (
        *figures,
        Figure(name="alloc_retries", kind=int, text="Times the allocator had to free its cache and retry."),
        Figure(name="oom_requested_bytes", kind=int, text="Bytes whose allocation failed; CUDA rounds them."),
        Figure(name="oom_allocated_bytes", kind=int, text="Bytes held by tensors when it failed."),
        Figure(name="oom_reserved_bytes", kind=int, text="Bytes of segments when it failed."),
        Figure(name="step_seconds_median", kind=float, text="Median time of an optimizer step."),
        Figure(name="step_seconds_p05", kind=float, text="5th percentile of the timed steps."),
        Figure(name="step_seconds_p95", kind=float, text="95th percentile of the timed steps."),
        Figure(name="step_seconds_ci95_low", kind=float, text="95 % interval of the median, this process."),
        Figure(name="step_seconds_ci95_high", kind=float, text="95 % interval of the median, this process."),
        Figure(name="steps_timed", kind=int, text="Steps the times rest on."),
        Figure(name="warmup_steps", kind=int, text="Steps before the timed ones."),
        Figure(name="warmup_stable", kind=bool, text="Whether step times had settled before timing."),
        Figure(name="host_seconds_median", kind=float, text="Median time the host took to issue a step."),
        Figure(name="tokens_per_second", kind=float, text="Tokens trained per second, padding included."),
        Figure(name="tokens_per_second_nonpad", kind=float, text="Tokens per second, padding left out."),
        Figure(name="samples_per_second", kind=float, text="Samples trained per second."),
        Figure(name="flops_per_step", kind=int, text="Floating-point operations of products in a step."),
        Figure(name="mfu", kind=float, text="FLOPs per second over the GPU's dense peak for the precision."),
        Figure(name="power_watts_mean", kind=float, text="Mean power of the device in the timed steps."),
        Figure(name="energy_joules_per_step", kind=float, text="Energy of the device per step."),
        Figure(name="sm_clock_mhz_median", kind=float, text="Median SM clock in the timed steps."),
        Figure(name="temperature_celsius_max", kind=float, text="Highest temperature in the timed steps."),
        Figure(name="throttled", kind=bool, text="Whether the GPU lowered its clocks in the timed steps."),
        Figure(name="device_busy", kind=bool, text="Whether other processes used the device meanwhile."),
        Figure(name="trainable_parameters", kind=int, text="Parameters that are trained."),
        Figure(name="total_parameters", kind=int, text="Parameters of the model with its adapter."),
        Figure(name="metric_name", kind=str, text="What metric_value is, when real data was trained on."),
        Figure(name="metric_value", kind=float, text="Value of the metric."),
        Figure(name="metric_n", kind=int, text="Samples the metric rests on."),
        Figure(name="trial_seconds", kind=float, text="Wall time of the whole attempt."),
        Figure(name="start_seconds", kind=float, text="Time until the process could build the model."),
        Figure(name="load_seconds", kind=float, text="Time to build the model and its optimizer."),
    )  # fmt: skip


FIGURES: dict[str, Figure] = {figure.name: figure for figure in _figures()}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a measurement was made on and with; part of its identity."""

    facts: Mapping[str, Any]
    """Flat names to JSON values: `device_name`, `torch_version`, ...; what is not known is left out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", freeze({k: v for k, v in self.facts.items() if v is not None}))

    @functools.cached_property
    def key(self) -> str:
        """Stable name: the first 16 hexadecimal digits of the SHA-256 of the facts' canonical JSON."""
        return hashlib.sha256(canonical_json(self.facts).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One attempt, immutable. A figure that was not measured is absent from `figures`."""

    spec: TrialSpec
    device: str
    """`cpu`, `cuda:0`, `virtual:rtx-4090`, ...."""
    environment: Environment
    outcome: Outcome
    origin: str = "measured"
    """`measured`, `virtual`, `symbolic` or `imported:NAME`."""
    reason: Reason | None = None
    phase: Phase | None = None
    message: str | None = None
    """What the library or the harness said when it did not end well."""
    repeat: int = 1
    attempt: int = 1
    sweep: str | None = None
    """Name of the sweep it belongs to."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the harness, as `MeasurementProtocol` writes them."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    step_seconds: tuple[float, ...] = ()
    """Every timed step, in order."""
    measured_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        figures = {name: value for name, value in self.figures.items() if value is not None}
        if strange := set(figures) - set(FIGURES):
            raise ValueError(f"not figures of a measurement: {', '.join(sorted(strange))}")
        if self.outcome is Outcome.OK and self.reason is not None:
            raise ValueError("a measurement that went well has no reason")
        if self.outcome is not Outcome.OK:
            if self.reason is None:
                raise ValueError(f"a measurement with outcome {self.outcome} needs a reason")
            if claimed := [name for name in figures if "peak" in name or name.startswith("step_seconds")]:
                raise ValueError(f"an attempt that did not finish cannot claim {', '.join(claimed)}")
        object.__setattr__(self, "figures", freeze(figures))
        object.__setattr__(self, "protocol", freeze(self.protocol))

    @property
    def ending(self) -> str:
        """The outcome in a word or two; what cannot be built is told from what went wrong."""
        return "not possible" if self.reason is Reason.NOT_POSSIBLE else self.outcome.value

    @property
    def is_finished(self) -> bool:
        """Whether trying again would change nothing; a sweep that resumes leaves it alone."""
        return self.reason is None or not self.reason.is_transient
