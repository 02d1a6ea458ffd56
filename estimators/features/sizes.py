"""`SizedTotals`: the totals of a trial at any batch size and length, from six traces.

Peaks are replayed with the tensors of `SizeModel`. The sums (FLOPs, bytes, operators) are polynomials of the
terms 1, B, S, BS, S^2 and BS^2 in the batch size B and the length S, solved at the traced sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.features.totals import StepTotals, peaks_of, work_of
from estimators.sizes import POINTS, SHORT_POINTS, SizeModel, Vary, term_values
from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError, SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from estimators.symbolic.tracer import Tracer
    from estimators.target import Target
    from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class SizedTotals:
    """Totals of one trial as functions of its sizes."""

    target: Target
    peaks: SizeModel
    coefficients: dict[str, NDArray[np.float64]]
    """Of each sum, one for each term."""

    @classmethod
    def of(cls, spec: TrialSpec, target: Target, tracer: Tracer) -> SizedTotals:
        """Trace a spec at six sizes.

        Raises:
            NotPossibleError: If its sizes cannot be told from a few traces (`SizeModel.of`).
        """
        peaks = SizeModel.of(spec, target, tracer)
        points, sums = _sums(spec, target, tracer)
        terms = term_values(Vary.BOTH, points)
        scale = np.abs(terms).max(axis=0)
        solved = {
            name: np.linalg.solve(terms / scale, [of_point[name] for of_point in sums]) / scale
            for name in sums[0]
        }
        return cls(target=target, peaks=peaks, coefficients=solved)

    def at(self, spec: TrialSpec) -> StepTotals:
        """Return the totals at the sizes of a spec that differs in nothing else."""
        ledger = self.peaks.ledger(batch_size=spec.batch_size, sequence_length=spec.sequence_length)
        (terms,) = term_values(Vary.BOTH, [(spec.batch_size, spec.sequence_length)])
        sums = {name: max(float(of_sum @ terms), 0.0) for name, of_sum in self.coefficients.items()}
        allocated, reserved = peaks_of(ledger, spec, self.target)
        return StepTotals(
            trainable_parameters=float(ledger.facts["trainable_parameters"]),
            total_parameters=float(ledger.facts["total_parameters"]),
            predicted_allocated_bytes=allocated,
            predicted_reserved_bytes=reserved,
            **sums,
        )


def _sums(
    spec: TrialSpec, target: Target, tracer: Tracer
) -> tuple[Sequence[tuple[int, int]], list[dict[str, float]]]:
    for points in (POINTS, SHORT_POINTS):
        specs = [spec.with_changes(batch_size=batch, sequence_length=length) for batch, length in points]
        results = tracer.trace_all([TraceRequest(spec=sized, target=target) for sized in specs])
        ledgers = [result for result in results if not isinstance(result, SizeupError)]
        if len(ledgers) == len(points):
            return points, [work_of(ledger) for ledger in ledgers]
    raise NotPossibleError(f"{spec.model} cannot be traced at the sizes that tell the others")
