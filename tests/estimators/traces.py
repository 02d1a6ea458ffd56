"""What tests ask of ledgers, and the GPUs they are traced for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from estimators.ledger import Ledger, Owner
from estimators.target import Target
from profiler.measurement import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

T4 = Target(capability=(7, 5), sm_count=40)
A100 = Target(capability=(8, 0), sm_count=108)
L40S = Target(capability=(8, 9), sm_count=142)
H100 = Target(capability=(9, 0), sm_count=132)

# What stays from step to step.
RESIDENT = (Owner.WEIGHTS, Owner.ADAPTER, Owner.OPTIMIZER, Owner.WORKSPACE)


def phases(ledger: Ledger) -> list[tuple[Phase, int]]:
    """Return the phase and step of each mark."""
    return [(mark.phase, mark.step) for mark in ledger.marks]


def spans(ledger: Ledger, phase: Phase, step: int) -> list[range]:
    """Return the events of each time that a phase runs in a step."""
    ends = [*(mark.event for mark in ledger.marks[1:]), len(ledger.events)]
    return [
        range(mark.event, end)
        for mark, end in zip(ledger.marks, ends, strict=True)
        if (mark.phase, mark.step) == (phase, step)
    ]


def span(ledger: Ledger, phase: Phase, step: int) -> range:
    """Return the events of a phase that runs once in a step."""
    (found,) = spans(ledger, phase, step)
    return found


def live_bytes(ledger: Ledger, event: int) -> dict[Owner, int]:
    """Return the bytes that each owner has after an event, of those that have any."""
    live = ledger.live_tensors(event)
    owners, sizes = ledger.owners[live], ledger.sizes[live]
    return {Owner(owner): int(sizes[owners == owner].sum()) for owner in np.unique(owners)}


def left_after(ledger: Ledger, phase: Phase, step: int) -> dict[Owner, int]:
    """Return the bytes that each owner has when a phase that runs once has ended.

    The inputs of the next batch are moved before its forward begins: they are not counted.
    """
    end = span(ledger, phase, step).stop
    following = [mark.phase for mark in ledger.marks if mark.event == end]
    if following == [Phase.FORWARD]:
        end -= count_of_inputs(ledger)
    return live_bytes(ledger, end - 1)


def count_of_inputs(ledger: Ledger) -> int:
    """Return how many tensors a batch has: those born last before the first forward."""
    born = [int(value) for value in ledger.events[: ledger.marks[1].event]]
    named = {Owner.WEIGHTS, Owner.ADAPTER}
    count = 0
    while born[-1 - count] >= 0 and ledger.owners[born[-1 - count]] not in named:
        count += 1
    return count


def births(ledger: Ledger, events: range) -> Iterator[int]:
    """Yield the tensors born in some events."""
    return (int(value) for value in ledger.events[events.start : events.stop] if value >= 0)


def kept_bytes(ledger: Ledger, step: int = 1) -> int:
    """Return the bytes that forward keeps for backward."""
    last = spans(ledger, Phase.FORWARD, step)[-1].stop - 1
    live = live_bytes(ledger, last)
    return live.get(Owner.ACTIVATIONS, 0) + live.get(Owner.LOGITS_AND_LOSS, 0)


def operators(ledger: Ledger, *names: str, phase: Phase | None = None, step: int | None = None) -> np.ndarray:
    """Return the positions of the operators with these names (of any, without), in a phase and step."""
    found = ledger.operators
    assert found is not None
    marks = [ledger.marks[mark] for mark in found.mark]
    return np.array(
        [
            position
            for position, mark in enumerate(marks)
            if (not names or found.names[found.name[position]] in names)
            and phase in (None, mark.phase)
            and step in (None, mark.step)
        ],
        dtype=int,
    )


def modules_of(ledger: Ledger, positions: np.ndarray) -> list[str]:
    """Return the modules of operators."""
    assert ledger.operators is not None
    return [ledger.modules[module] for module in ledger.operators.module[positions]]
