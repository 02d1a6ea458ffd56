"""Ways to make a trial fit: every change traced directly, and of those that save memory, the best few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.memory import Verdict, estimate_memory
from estimators.symbolic.tracer import TraceRequest
from estimators.target import Target
from planner.fit.answer import Suggestion
from planner.fit.changes import combined_changes, single_changes
from planner.fit.command_line import command_line
from planner.fit.tracing import as_traced
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators.symbolic.tracer import Tracer
    from planner.fit.changes import Change
    from planner.fit.sizes import LargestSizes
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

MOST = 6
"""Suggestions in an answer."""

_LEAST_SAVING = 0.01
"""Part of the peak that a change must save to be worth a line, unless it makes the trial fit."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A change that no library refuses, and what it comes to."""

    change: Change
    spec: TrialSpec
    peak_process_bytes: int
    fits: bool


def suggest(
    spec: TrialSpec, gpu: GpuFacts, tracer: Tracer, *, peak_process_bytes: int, sizes: LargestSizes | None
) -> tuple[Suggestion, ...]:
    """Return ways to make a trial fit on a GPU, ranked by how little they change the training.

    Combinations are tried if no single change suffices that leaves the data as they are.

    Args:
        spec: A trial that does not surely fit.
        gpu: The GPU.
        tracer: Traces the changed trials, all at once.
        peak_process_bytes: What the trial needs as it is.
        sizes: The largest sizes of it that fit; None if they are not known.
    """
    tried = _try(single_changes(spec, sizes), spec, gpu, tracer)
    if not any(attempt.fits and "length" not in attempt.change.kinds for attempt in tried):
        possible = [attempt.change for attempt in tried]
        tried += _try(combined_changes(spec, possible), spec, gpu, tracer)
    return tuple(
        Suggestion(
            change=attempt.change.words,
            command=command_line(attempt.spec),
            spec=attempt.spec,
            peak_process_bytes=attempt.peak_process_bytes,
            fits=attempt.fits,
        )
        for attempt in best(tried, peak_process_bytes=peak_process_bytes)
    )


def _try(changes: Sequence[Change], spec: TrialSpec, gpu: GpuFacts, tracer: Tracer) -> list[Tried]:
    made = [(change, changed) for change in changes if (changed := change.applied_to(spec)) is not None]
    target = Target.of(gpu)
    ledgers = tracer.trace_all([TraceRequest(spec=as_traced(changed), target=target) for _, changed in made])
    tried = []
    for (change, changed), ledger in zip(made, ledgers, strict=True):
        if isinstance(ledger, SizeupError):
            continue  # a library refuses it, such as liger without Triton
        estimate = estimate_memory(ledger, changed, gpu)
        tried.append(
            Tried(
                change=change,
                spec=changed,
                peak_process_bytes=estimate.peak_process_bytes,
                fits=estimate.verdict is Verdict.FITS,
            )
        )
    return tried


def best(tried: Sequence[Tried], *, peak_process_bytes: int) -> list[Tried]:
    """Return up to `MOST` of what was tried, ranked, those that fit before all others.

    What saves next to nothing is dropped. Of several batch sizes, the largest that fits stands for all. A
    combination that does not fit, or of which a part alone does, says nothing.
    """
    enough = peak_process_bytes * (1 - _LEAST_SAVING)
    saving = [attempt for attempt in tried if attempt.fits or attempt.peak_process_bytes < enough]
    fitting: list[Tried] = []
    for attempt in sorted((attempt for attempt in saving if attempt.fits), key=_rank):
        if not any(less.change.kinds <= attempt.change.kinds for less in fitting):
            fitting.append(attempt)
    known = {attempt.change.kinds for attempt in fitting}
    others: dict[frozenset[str], Tried] = {}
    for attempt in saving:
        if len(attempt.change.kinds) == 1 and attempt.change.kinds not in known:
            others[attempt.change.kinds] = attempt  # of two batch sizes, the smaller one
    return sorted([*fitting, *others.values()][:MOST], key=_rank)


def _rank(attempt: Tried) -> int:
    return attempt.change.rank
