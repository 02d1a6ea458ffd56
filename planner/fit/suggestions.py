"""Ways to make a trial fit: every change traced directly, and of those that save memory, the best few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from estimators.memory import Verdict, estimate_memory
from estimators.symbolic.tracer import TraceRequest
from estimators.target import Target
from planner.fit.answer import Suggestion
from planner.fit.changes import KINDS, combined_changes, method_changes, single_changes
from planner.fit.command_line import command_line
from planner.fit.tracing import as_traced
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators.symbolic.tracer import Tracer
    from planner.fit.answer import FitAnswer
    from planner.fit.changes import Change
    from planner.fit.sizes import LargestSizes
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

MOST = 6
"""Suggestions in an answer."""

_LEAST_SAVING = 0.01
"""Part of the peak that a change must save to be worth a line, unless it makes the trial fit."""

_STATE_BYTES = 8
"""Most that the states of an optimizer take for each parameter: two floats."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A change that no library refuses, and what it comes to."""

    change: Change
    spec: TrialSpec
    peak_process_bytes: int
    fits: bool


def suggest(
    answer: FitAnswer, gpu: GpuFacts, tracer: Tracer, sizes: LargestSizes | None
) -> tuple[Suggestion, ...]:
    """Return ways to make a trial fit on a GPU, ranked by how little they change the training.

    Combinations are tried, the smaller ones first, if no single change suffices that keeps the data.

    Args:
        answer: What is known of a trial that does not surely fit.
        gpu: The GPU.
        tracer: Traces the changed trials, all at once.
        sizes: The largest sizes of it that fit; None if they are not known.
    """
    spec = answer.spec
    least = answer.peak_process_bytes * _LEAST_SAVING
    singles = single_changes(spec, sizes)
    if answer.basis.trainable_parameters * _STATE_BYTES < least:
        singles = [change for change in singles if "optimizer" not in change.kinds]
    tried = _try(singles, spec, gpu, tracer)
    possible = list({attempt.change.kinds: attempt.change for attempt in tried}.values())
    for count in range(len(KINDS)):
        if any(attempt.fits and "length" not in attempt.change.kinds for attempt in tried):
            break
        tried += _try(combined_changes(spec, possible, count), spec, gpu, tracer)
    else:
        tried += _try(method_changes(spec), spec, gpu, tracer)
    return tuple(
        Suggestion(
            change=attempt.change.words,
            command=command_line(attempt.spec),
            spec=attempt.spec,
            peak_process_bytes=attempt.peak_process_bytes,
            fits=attempt.fits,
        )
        for attempt in best(tried, most_bytes=answer.peak_process_bytes - least)
    )


def _try(changes: Sequence[Change], spec: TrialSpec, gpu: GpuFacts, tracer: Tracer) -> list[Tried]:
    made = [(change, changed) for change in changes if (changed := change.applied_to(spec)) is not None]
    target = Target.of(gpu)
    to_trace = list(dict.fromkeys(as_traced(changed) for _, changed in made))
    traced = tracer.trace_all([TraceRequest(spec=other, target=target) for other in to_trace])
    ledgers = dict(zip(to_trace, traced, strict=True))
    tried = []
    for change, changed in made:
        if isinstance(ledger := ledgers[as_traced(changed)], SizeupError):
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


def best(tried: Sequence[Tried], *, most_bytes: float) -> list[Tried]:
    """Return up to `MOST` of what was tried, ranked, those that fit before all others.

    What neither fits nor needs less than `most_bytes` is dropped. Of several batch sizes, the largest that
    fits stands for all. A combination of which a part alone fits says nothing, nor does one that does not
    fit; only if nothing does, the one that needs least says how far it is.
    """
    saving = [attempt for attempt in tried if attempt.fits or attempt.peak_process_bytes < most_bytes]
    fitting: list[Tried] = []
    for attempt in sorted((attempt for attempt in saving if attempt.fits), key=_rank):
        if not any(less.change.kinds <= attempt.change.kinds for less in fitting):
            fitting.append(attempt)
    known = {attempt.change.kinds for attempt in fitting}
    others: dict[frozenset[str], Tried] = {}
    for attempt in saving:
        if len(attempt.change.kinds) == 1 and attempt.change.kinds not in known:
            others[attempt.change.kinds] = attempt  # of two batch sizes, the smaller one
    if not fitting and saving:
        nearest = min(saving, key=lambda attempt: attempt.peak_process_bytes)
        others[nearest.change.kinds] = nearest
        return sorted(others.values(), key=_rank)[-MOST:]
    return sorted([*fitting, *others.values()][:MOST], key=_rank)


def _rank(attempt: Tried) -> int:
    return attempt.change.rank
