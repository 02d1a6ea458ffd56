"""Which trials are not worth suggesting: those measured already, and those that surely cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.memory import Verdict, fits
from estimators.residuals import memory_residuals
from profiler.catalog.gpu_memory import gpu_memory
from profiler.errors import SizeupError
from profiler.measurement import Outcome
from profiler.sweep.plan import is_larger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators.features import FeatureRow, Place
    from estimators.learned import Configuration
    from estimators.symbolic.tracer import Tracer
    from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A trial that is not suggested."""

    spec: TrialSpec
    reason: str


def unmeasured(
    specs: Sequence[TrialSpec], found: Sequence[Configuration]
) -> tuple[list[TrialSpec], list[Skipped]]:
    """Return the trials that measurements leave open, each once, and why the others are none."""
    by_key = {one.spec.key: one for one in found}
    out_of_memory = [one.spec for one in found if one.outcomes[Outcome.OOM] and not one.figures]
    candidates: list[TrialSpec] = []
    skipped: list[Skipped] = []
    for spec in {spec.key: spec for spec in specs}.values():
        smaller = next((other for other in out_of_memory if is_larger(spec, other)), None)
        if (measured := by_key.get(spec.key)) is not None:
            skipped.append(Skipped(spec=spec, reason=_ending(measured)))
        elif smaller is not None:
            reason = f"it ran out of memory with batch size {smaller.batch_size}"
            skipped.append(Skipped(spec=spec, reason=reason))
        else:
            candidates.append(spec)
    return candidates, skipped


def _ending(measured: Configuration) -> str:
    if measured.outcomes[Outcome.OK]:
        return "measured already"
    if measured.outcomes[Outcome.OOM]:
        return "it ran out of memory"
    return f"it ended as {measured.outcomes.most_common(1)[0][0]}"


def does_not_fit(spec: TrialSpec, row: FeatureRow, place: Place, tracer: Tracer) -> bool:
    """Whether the symbolic engine is sure that a trial does not fit on the GPU where it would run."""
    reserved = row.numbers.get("predicted_reserved_bytes")
    if place.gpu is None or reserved is None:
        return False
    least, _ = gpu_memory(place.gpu).room_bytes_range
    if reserved * (1 + memory_residuals().high) <= least:
        return False
    try:
        ledger = tracer.trace(spec, place.target)
    except SizeupError:
        return False  # the sums came from other sizes: this one alone cannot be had
    return fits(ledger, spec, place.gpu) is Verdict.DOES_NOT_FIT
