"""`StepTotals`: the sums of a traced step, and the peaks that its replay predicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.allocator import replay
from estimators.memory import peak_tensor_bytes
from profiler.errors import NotPossibleError
from profiler.measurement import Phase

if TYPE_CHECKING:
    from estimators.ledger import Ledger
    from estimators.target import Target
    from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class StepTotals:
    """Sums over one optimizer step, the mean of those after the first, and peaks over all steps."""

    trainable_parameters: float
    total_parameters: float
    modules: float
    operators: float
    operators_backward: float
    operators_optimizer: float
    flops_16bit: float
    flops_other: float
    bytes_moved: float
    predicted_allocated_bytes: float
    predicted_reserved_bytes: float | None
    """None on the CPU, which has no segments."""

    @property
    def features(self) -> dict[str, float | None]:
        """The totals by the names of features."""
        return asdict(self)


def step_totals(ledger: Ledger, spec: TrialSpec, target: Target) -> StepTotals:
    """Sum up a ledger that has its operators.

    Raises:
        NotPossibleError: If it has no operators.
    """
    allocated, reserved = peaks_of(ledger, spec, target)
    return StepTotals(
        trainable_parameters=float(ledger.facts["trainable_parameters"]),
        total_parameters=float(ledger.facts["total_parameters"]),
        predicted_allocated_bytes=allocated,
        predicted_reserved_bytes=reserved,
        **work_of(ledger),
    )


def work_of(ledger: Ledger) -> dict[str, float]:
    """Return modules, operators, FLOPs and bytes of a step.

    Raises:
        NotPossibleError: If the ledger has no operators.
    """
    operators = ledger.operators
    if operators is None:
        raise NotPossibleError("a ledger at other sizes has no operators to sum up")
    last = max(mark.step for mark in ledger.marks)
    first = min(1, last)  # the first step has no optimizer state yet
    # Loading is marked as step 0, and evaluation as the last step: neither is part of a step.
    phases = (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER)
    in_step = np.array([mark.phase in phases and mark.step >= first for mark in ledger.marks])
    steps = last - first + 1
    counted = in_step[operators.mark]

    def total(values: np.ndarray, *, phase: Phase | None = None) -> float:
        chosen = counted
        if phase is not None:
            chosen = chosen & np.array([mark.phase is phase for mark in ledger.marks])[operators.mark]
        return float(values[chosen].sum(dtype=np.float64)) / steps

    each = np.ones(len(operators.mark))
    return {
        "modules": float(len(ledger.modules)),
        "operators": total(each),
        "operators_backward": total(each, phase=Phase.BACKWARD),
        "operators_optimizer": total(each, phase=Phase.OPTIMIZER),
        "flops_16bit": total(np.where(operators.is_16bit, operators.flops, 0)),
        "flops_other": total(np.where(operators.is_16bit, 0, operators.flops)),
        "bytes_moved": total(operators.bytes_read.astype(np.float64) + operators.bytes_written),
    }


def peaks_of(ledger: Ledger, spec: TrialSpec, target: Target) -> tuple[float, float | None]:
    """Return the predicted peaks of allocated and reserved memory in bytes; the CPU reserves none."""
    if target.is_cpu:
        return float(peak_tensor_bytes(ledger)), None
    replayed = replay(ledger.events, ledger.sizes, expandable_segments=spec.allocator == "expandable")
    return float(replayed.peak_allocated_bytes), float(replayed.peak_reserved_bytes)
