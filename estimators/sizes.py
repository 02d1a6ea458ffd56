"""`SizeModel`: the ledger of a trial at other batch sizes and sequence lengths, from a few traces.

The same trial at other sizes has the same events, and each tensor's bytes are a polynomial in the batch size
B and the length S, of the terms 1, B, S, BS, S^2 and BS^2. Nearly always it is one term alone, which two
traces tell: only one agrees with both. Where none does, as with tokens that a prompt method puts in front, as
many traces as there are terms settle it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.symbolic.tracer import TraceRequest
from profiler.errors import NotPossibleError, SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from estimators.ledger import Ledger
    from estimators.symbolic.tracer import Tracer
    from estimators.target import Target
    from profiler.spec import TrialSpec


class Vary(enum.Enum):
    """What of a spec is another, with the exponents (of B, of S) of the terms that follow from it."""

    BATCH = ((0, 0), (1, 0))
    LENGTH = ((0, 0), (0, 1), (0, 2))
    BOTH = ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2))


# Lengths are multiples of 128, where the rows that kernels pad have no padding. The tokens of a batch are
# beyond what kernels take another course for (embedding backward up to 3,072, 4-bit products up to 1,536),
# and multiples of 10, the rows that embedding backward sums at once.
_LENGTHS = (640, 1408, 896)
POINTS = ((7, 640), (5, 1408), (10, 896), (5, 1152), (15, 384), (10, 1664))
# For models of 512 positions.
_SHORT_LENGTHS = (256, 384, 512)
SHORT_POINTS = ((35, 128), (25, 256), (40, 384), (30, 512), (50, 128), (45, 256))
_MOST_TOKENS_OF_SMALL_KERNELS = 3072


@dataclass(frozen=True, kw_only=True)
class SizeModel:
    """Sizes of every tensor of a trial as a polynomial in what varies."""

    vary: Vary
    at_point: Ledger
    coefficients: NDArray[np.float64]
    """Shape (tensors, terms)."""

    @classmethod
    def of(cls, spec: TrialSpec, target: Target, tracer: Tracer, *, vary: Vary = Vary.BOTH) -> SizeModel:
        """Trace a spec at a few sizes; what does not vary is as in the spec.

        Raises:
            NotPossibleError: If lengths vary within the spec, it trains images and the length should vary, a
                library refuses it, or its events are not the same at all sizes.
        """
        if spec.lengths is not None or spec.evaluation_batch_size is not None:
            raise NotPossibleError("a spec with varying lengths or an evaluation has no one size")
        if spec.task == "image-classification" and vary is not Vary.BATCH:
            raise NotPossibleError("images have no sequence length")
        points, ledgers = _traced_where_it_can_be(spec, target, tracer, vary)
        values = term_values(vary, points)
        coefficients, is_solved = _one_term(np.array([ledger.sizes for ledger in ledgers]), values[:2])
        if not is_solved.all():
            ledgers = _traced(spec, target, tracer, vary, points)
            sizes = np.array([ledger.sizes[~is_solved] for ledger in ledgers], dtype=float)
            coefficients[~is_solved] = np.linalg.solve(values, sizes).T
        return cls(vary=vary, at_point=ledgers[0], coefficients=coefficients)

    def ledger(self, *, batch_size: int, sequence_length: int) -> Ledger:
        """Return the ledger at other sizes; exact where kernels pad nothing and take the same course."""
        terms = term_values(self.vary, [(batch_size, sequence_length)])[0]
        sizes = np.maximum(np.rint(self.coefficients @ terms), 1).astype(np.int64)
        return self.at_point.with_sizes(sizes)


def _points(spec: TrialSpec, vary: Vary) -> list[list[tuple[int, int]]]:
    """Return lists of points to trace, as (batch, length); the last list is for models of few positions."""
    batch, length = spec.batch_size, spec.sequence_length
    if vary is Vary.BATCH:
        least = max(2, _MOST_TOKENS_OF_SMALL_KERNELS // length + 1)
        return [[(least, length), (2 * least + 1, length)]]
    if vary is Vary.LENGTH:
        return [[(batch, longer) for longer in lengths] for lengths in (_LENGTHS, _SHORT_LENGTHS)]
    return [list(POINTS), list(SHORT_POINTS)]


def _traced_where_it_can_be(
    spec: TrialSpec, target: Target, tracer: Tracer, vary: Vary
) -> tuple[list[tuple[int, int]], list[Ledger]]:
    """Return the points, and the ledgers at the first two; points of short models if others are refused."""
    *first, last = _points(spec, vary)
    for points in first:
        try:
            return points, _traced(spec, target, tracer, vary, points[:2])
        except NotPossibleError:
            continue
    return last, _traced(spec, target, tracer, vary, last[:2])


def _traced(
    spec: TrialSpec, target: Target, tracer: Tracer, vary: Vary, points: Sequence[tuple[int, int]]
) -> list[Ledger]:
    specs = [spec.with_changes(**_changes(vary, batch, length)) for batch, length in points]
    ledgers: list[Ledger] = []
    for result in tracer.trace_all([TraceRequest(spec=changed, target=target) for changed in specs]):
        if isinstance(result, SizeupError):
            raise result
        ledgers.append(result)
    if any(not np.array_equal(ledgers[0].events, other.events) for other in ledgers[1:]):
        raise NotPossibleError(f"{spec.model} does not allocate in the same order at all sizes")
    return ledgers


def _changes(vary: Vary, batch: int, length: int) -> dict[str, int]:
    match vary:
        case Vary.BATCH:
            return {"batch_size": batch}
        case Vary.LENGTH:
            return {"sequence_length": length}
    return {"batch_size": batch, "sequence_length": length}


def term_values(vary: Vary, points: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Return the value of each term at each point, shape (points, terms)."""
    return np.array(
        [[float(batch) ** i * float(length) ** j for i, j in vary.value] for batch, length in points]
    )


def _one_term(
    sizes: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the coefficients of the tensors whose bytes are one term, and which tensors those are.

    Args:
        sizes: Bytes of the tensors at two points, shape (2, tensors).
        values: Values of the terms there, shape (2, terms).
    """
    coefficients = np.zeros((sizes.shape[1], values.shape[1]))
    is_solved = np.zeros(sizes.shape[1], dtype=bool)
    for term in range(values.shape[1]):
        agrees = ~is_solved & (sizes[0] * values[1, term] == sizes[1] * values[0, term])
        coefficients[agrees, term] = sizes[0, agrees] / values[0, term]
        is_solved |= agrees
    return coefficients, is_solved
