"""Which trial is traced for a question about another: the same peaks, sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiler.spec import TrialSpec

_MICRO_BATCHES = 2
"""The first makes the gradients, the second adds to them; from then on every one of equal shape is alike."""


def as_traced(spec: TrialSpec) -> TrialSpec:
    """Return the trial to trace: with equal shapes, two micro-batches stand for any greater number.

    Nor does the allocator matter to a trace, but only to its replay.
    """
    changes: dict[str, Any] = {}
    if spec.allocator != "default":
        changes["allocator"] = "default"
    if is_shortened(spec):
        changes["gradient_accumulation"] = _MICRO_BATCHES
    return spec.with_changes(**changes) if changes else spec


def is_shortened(spec: TrialSpec) -> bool:
    """Whether fewer micro-batches are traced than the trial has."""
    return spec.lengths is None and spec.gradient_accumulation > _MICRO_BATCHES
