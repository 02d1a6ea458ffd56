"""The largest batch and the longest sequence that fit: found cheaply, confirmed by direct traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.memory import Verdict, fits
from estimators.sizes import SizeModel, Vary
from estimators.target import Target
from planner.fit.tracing import as_traced
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from estimators.symbolic.tracer import Tracer
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

LARGEST_BATCH = 2**14
LONGEST_SEQUENCE = 2**20
"""Where the search ends: beyond what anybody trains with."""

_SHORT = 512
_SHORT_UNIT, _UNIT = 32, 64


@dataclass(frozen=True, kw_only=True)
class LargestSizes:
    """What fits, each with the other as the trial has it; None where not even the smallest does."""

    batch_size: int | None
    sequence_length: int | None
    """None for images, too."""


def largest_sizes(spec: TrialSpec, gpu: GpuFacts, tracer: Tracer) -> LargestSizes:
    """Return the largest sizes with which a trial surely fits on a GPU, each confirmed by a direct trace.

    Raises:
        NotPossibleError: If the trial has no one size, or other sizes of it cannot be told from a few traces.
    """
    is_image = spec.task == "image-classification"
    target = Target.of(gpu)
    vary = Vary.BATCH if is_image else Vary.BOTH
    model = SizeModel.of(as_traced(spec), target, tracer, vary=vary)

    def probably(batch_size: int, sequence_length: int) -> bool:
        ledger = model.ledger(batch_size=batch_size, sequence_length=sequence_length)
        return fits(ledger, spec, gpu) is Verdict.FITS

    def surely(batch_size: int, sequence_length: int) -> bool:
        sized = spec.with_changes(batch_size=batch_size, sequence_length=sequence_length)
        try:
            ledger = tracer.trace(as_traced(sized), target)
        except NotPossibleError:  # such as a length beyond the model's positions
            return False
        return fits(ledger, spec, gpu) is Verdict.FITS

    batch_size = largest(
        lambda size: probably(size, spec.sequence_length),
        lambda size: surely(size, spec.sequence_length),
        start=spec.batch_size,
        limit=LARGEST_BATCH,
    )
    if is_image:
        return LargestSizes(batch_size=batch_size, sequence_length=None)
    number = largest(
        lambda number: probably(spec.batch_size, rounded_length(number)),
        lambda number: surely(spec.batch_size, rounded_length(number)),
        start=max(number_of_length(spec.sequence_length), 1),
        limit=number_of_length(LONGEST_SEQUENCE),
    )
    length = rounded_length(number) if number else None
    if (length or 0) < spec.sequence_length and surely(spec.batch_size, spec.sequence_length):
        length = spec.sequence_length  # between two rounded lengths
    return LargestSizes(batch_size=batch_size, sequence_length=length)


def largest(
    probably: Callable[[int], bool], surely: Callable[[int], bool], *, start: int, limit: int
) -> int | None:
    """Return the largest number from 1 to `limit` that surely fits; None if there is none.

    Args:
        probably: Whether a number fits, asked often; once it does not, no larger one does.
        surely: The same, asked as seldom as possible; it decides.
        start: Where to begin; the closer to the answer, the fewer questions.
        limit: The largest number looked at.
    """
    found = _edge(probably, start=start, limit=limit)
    step, failing = 1, None
    while found and not surely(found):
        failing, found, step = found, max(found - step, 0), 2 * step
    if failing is not None:
        found = _bisect(surely, found, failing)
    return found or None


def _edge(holds: Callable[[int], bool], *, start: int, limit: int) -> int:
    """Return the largest number up to `limit` for which it holds; 0 if there is none."""
    low, high = 0, min(start, limit)
    while holds(high):
        low = high
        if low == limit:
            return limit
        high = min(2 * high, limit)
    return _bisect(holds, low, high)


def _bisect(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the last number for which it holds, between one for which it does and one for which not."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def rounded_length(number: int) -> int:
    """Return the length with this number, counted from 1: multiples of 32 up to 512, then of 64."""
    short = _SHORT // _SHORT_UNIT
    return number * _SHORT_UNIT if number <= short else _SHORT + (number - short) * _UNIT


def number_of_length(length: int) -> int:
    """Return the number of the longest rounded length that is not longer; 0 below the first."""
    if length <= _SHORT:
        return length // _SHORT_UNIT
    return _SHORT // _SHORT_UNIT + (length - _SHORT) // _UNIT
