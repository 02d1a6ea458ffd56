"""Which trial is traced for a question about another: the same peaks, sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiler.spec import TrialSpec

_MICRO_BATCHES = 2
"""The first makes the gradients, the second adds to them; from then on every one of equal shape is alike."""


def as_traced(spec: TrialSpec) -> TrialSpec:
    """Return the trial to trace: with equal shapes, two micro-batches stand for any greater number."""
    if is_shortened(spec):
        return spec.with_changes(gradient_accumulation=_MICRO_BATCHES)
    return spec


def is_shortened(spec: TrialSpec) -> bool:
    """Whether fewer micro-batches are traced than the trial has."""
    return spec.lengths is None and spec.gradient_accumulation > _MICRO_BATCHES
