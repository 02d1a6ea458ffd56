"""`FitAnswer`: whether a trial fits on a GPU, and all that the verdict rests on. Its JSON is a contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from estimators.memory import Verdict
from profiler.measurement import Phase
from profiler.spec import TrialSpec

SCHEMA_VERSION = 1
"""Of the JSON of an answer; raised when a key goes away or changes its meaning."""


def _spec(value: Any) -> Any:
    return TrialSpec.from_canonical(value) if isinstance(value, Mapping) else value


Spec = Annotated[TrialSpec, BeforeValidator(_spec), PlainSerializer(lambda spec: spec.canonical)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FailedAt(_Record):
    """The first allocation that the GPU cannot give."""

    phase: Phase
    module: str
    """Path of the module at work; empty for the model itself."""
    bytes: int
    """What was asked of the GPU."""


class PeakAt(_Record):
    """The moment of the peak that the breakdown is of."""

    phase: Phase
    step: int
    """Number of the optimizer step, from 0."""
    module: str
    """Path of the module at work; empty for the model itself."""


class Suggestion(_Record):
    """A way to make the trial fit, or to need less."""

    change: str
    command: str
    """Runs the changed trial."""
    spec: Spec
    peak_process_bytes: int
    fits: bool


class Basis(_Record):
    """What an answer rests on."""

    versions: dict[str, str | None]
    """Of the libraries whose code was executed; None for one that is not installed."""
    attention_kernels: tuple[str, ...]
    trainable_parameters: int
    total_parameters: int
    peak_at: PeakAt
    usable_bytes_range: tuple[int, int]
    """What torch sees of the GPU's memory."""
    context_bytes_range: tuple[int, int]
    """What the CUDA context may take."""
    gpu_memory_source: str
    interval_rows: int
    """Published measurements that the interval was found on."""
    interval_source: str
    sizes_unknown_because: str | None
    """Why the largest batch and the longest sequence were not found; None if they are confirmed."""
    cached: bool = False
    """Whether the answer was given before; its seconds are those of the first time."""


class Seconds(_Record):
    """What the answer took, in seconds; what was traced before has the time of then."""

    imports: float
    trace: float
    replay: float


class FitAnswer(_Record):
    """Whether a trial fits on a GPU; sizes in bytes. The three tiers of memory are never compared."""

    spec: Spec
    gpu: str
    """Id in the catalogue."""
    engine: str = "symbolic"
    verdict: Verdict
    fits_only_with_retries: bool
    """Whether it fits only because the allocator gives its cache back when memory is short."""
    failed_at: FailedAt | None
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    peak_process_bytes: int
    """Reserved memory and the CUDA context, on a card without limit."""
    interval_process_bytes: tuple[int, int]
    interval_level: float
    breakdown_bytes: dict[str, int]
    """The parts of `peak_process_bytes`."""
    phase_peaks_bytes: dict[str, int]
    """Peaks of allocated memory."""
    step_peaks_reserved_bytes: tuple[int, ...]
    """The peak of each step that was executed, in order. Of varying lengths, the highest decides."""
    largest_batch_size: int | None
    """At the trial's length; None where none fits, or `basis.sizes_unknown_because` says why."""
    longest_sequence: int | None
    """At the trial's batch size, rounded down to a multiple of 64 (32 below 512); None as above,
    and for images."""
    suggestions: tuple[Suggestion, ...]
    assumptions: tuple[str, ...]
    basis: Basis
    seconds: Seconds

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values, under the keys of the contract; what is absent is None."""
        return {"schema_version": SCHEMA_VERSION, **self.model_dump(mode="json")}
