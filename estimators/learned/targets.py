"""The figures that can be learned, and the physics that each begins with."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.learned.state import stored
from profiler.errors import unknown

ONE = "one"
"""The term that is 1 in every row: what each trial takes, whatever it does."""


@stored
@dataclass(frozen=True, kw_only=True)
class LearnedTarget:
    """A figure, and what of a traced step it follows from."""

    name: str
    group: str
    """`memory` or `time`, as the command line has it."""
    predicted_by: str | None
    """The feature that predicts it without any measurement; None where nothing does."""
    terms: tuple[tuple[str, ...], ...]
    """Sets of features whose sum with fitted factors, none negative, is the figure; of the sets whose
    features are all known, the first is the best, and the last is the plain baseline."""


TARGETS: dict[str, LearnedTarget] = {
    target.name: target
    for target in (
        LearnedTarget(
            name="peak_allocated_bytes",
            group="memory",
            predicted_by="predicted_allocated_bytes",
            terms=(("predicted_allocated_bytes", ONE),),
        ),
        LearnedTarget(
            name="peak_reserved_bytes",
            group="memory",
            predicted_by="predicted_reserved_bytes",
            terms=(("predicted_reserved_bytes", ONE),),
        ),
        LearnedTarget(
            name="peak_process_bytes",
            group="memory",
            predicted_by="predicted_process_bytes",
            # Graph nodes and modules take host memory of their own on the CPU.
            terms=(("predicted_process_bytes", "operators", ONE), ("predicted_process_bytes", ONE)),
        ),
        LearnedTarget(
            name="step_seconds_median",
            group="time",
            predicted_by=None,
            # The host issues operators; the device computes, at a rate for each type, and moves bytes.
            terms=(
                ("operators", "compute_16bit_seconds", "compute_other_seconds", "memory_seconds"),
                ("operators", "flops_16bit", "flops_other", "bytes_moved"),
                ("operators", "flops", "bytes_moved"),
            ),
        ),
    )
}


def find_target(name: str) -> LearnedTarget:
    """Return the target of a figure.

    Raises:
        UsageError: If the figure cannot be learned.
    """
    if name not in TARGETS:
        raise unknown("figure to learn", name, TARGETS)
    return TARGETS[name]
