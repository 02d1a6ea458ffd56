"""What a device is to the harness: one protocol, which every device keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import torch

    from profiler.measurement import Outcome, Phase, Reason
    from profiler.spec import TrialSpec

    Watch = Callable[[Phase], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What an exception means for the row."""

    outcome: Outcome
    reason: Reason
    message: str
    figures: dict[str, int] = field(default_factory=dict)
    """`oom_requested_bytes` and its like."""


class Meter(Protocol):
    """Measures one trial inside its process. All figures are named as in `profiler.measurement.FIGURES`."""

    def begin(self) -> None:
        """Take the baseline, before the model is built."""

    def load(self) -> AbstractContextManager[None]:
        """Measure the building of the model and its optimizer."""

    def end_warmup(self) -> None:
        """Keep the peaks of warm-up, and start anew."""

    def timing(self) -> AbstractContextManager[StepTimer]:
        """Time steps, and watch power and clocks meanwhile."""

    def phase_pass(self) -> AbstractContextManager[Watch]:
        """Measure the peak of each phase; what runs inside is not timed."""

    def figures(self) -> dict[str, Any]:
        """Return every figure of memory, power and clocks; what was not measured is left out."""

    def notes(self) -> Sequence[str]:
        """Return what a reader of the row must know of how the device was used; asked at the end."""


class StepTimer(Protocol):
    """Times the steps of one loop without waiting for the device in between."""

    def start_step(self) -> None:
        """Mark the border where a step begins."""

    def end_step(self) -> None:
        """Mark the border where it ends."""

    def step_seconds(self) -> Sequence[float]:
        """Return the time of each step, in seconds; waits for the device. Empty where it tells no time."""

    def host_seconds(self) -> Sequence[float]:
        """Return the time the host took to issue each step; empty where host and device are one."""


class Device(Protocol):
    """A kind of hardware that trials run on.

    The supervisor asks for everything but `torch_device`, `meter` and `failure`, and must not import torch
    for it: it would hold a CUDA context that the trials then miss.
    """

    @property
    def name(self) -> str:
        """`cpu`, `cuda:0` or `virtual:l40s`: the value of the column `device`."""

    @property
    def name_in_trial(self) -> str:
        """Its name inside a trial's process, which may see less than the supervisor."""

    @property
    def origin(self) -> str:
        """Origin of its measurements: `measured` or `virtual`."""

    @property
    def forks(self) -> bool:
        """Whether a trial may be forked from a process that has imported, but computed nothing."""

    def child_environment(self, spec: TrialSpec | None) -> dict[str, str]:
        """Return the environment variables a trial's process needs from its start."""

    def facts(self) -> dict[str, Any]:
        """Return what identifies the device in an `Environment`.

        Raises:
            NotPossibleError: If there is no such device here; a sentence says why.
        """

    def torch_device(self) -> torch.device:
        """Return the device as torch names it."""

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""

    def empty_cache(self) -> None:
        """Give back memory that torch keeps for later, if this device's allocator does so."""

    def meter(self) -> Meter:
        """Return a new meter for this process."""

    def peak_flops_per_second(self, precision: str) -> float | None:
        """Return the dense peak for a precision of `TrialSpec`, or None where no source gives one."""

    def failure(self, error: BaseException) -> Failure | None:
        """Say what an exception of this device means, or None if it is no matter of the device."""
