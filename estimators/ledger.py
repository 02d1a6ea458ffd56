"""`Ledger`: every allocation and every operator of a trial's first steps, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.allocator import EMPTY_CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.measurement import Phase


class Owner(IntEnum):
    """What a tensor is for; the parts of a breakdown."""

    WEIGHTS = 0
    ADAPTER = 1
    GRADIENTS = 2
    OPTIMIZER = 3
    ACTIVATIONS = 4
    LOGITS_AND_LOSS = 5
    INPUTS = 6
    WORKSPACE = 7
    TEMPORARY = 8


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where in the events a phase of a step begins."""

    event: int
    phase: Phase
    step: int
    """Number of the optimizer step, from 0; 0 for loading, too."""


@dataclass(frozen=True, kw_only=True)
class Operators:
    """The operators of all steps, in the order they were issued; one array element each."""

    name: np.ndarray
    """Index into `names`."""
    module: np.ndarray
    """Index into the ledger's `modules`."""
    mark: np.ndarray
    """Index into the ledger's `marks`."""
    flops: np.ndarray
    """Floating-point operations of matrix products, convolutions and attention; 0 for what has none."""
    bytes_read: np.ndarray
    bytes_written: np.ndarray
    is_16bit: np.ndarray
    """Whether the operands are 16-bit floats."""
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What a trial allocates on its device, event by event, and the operators that did it.

    `events` says only which tensor is born or dies; how many bytes it has is in `sizes`. The same trial at
    another batch size or length has the same events with other sizes, so that one can be made of the other.
    """

    events: np.ndarray
    """int32; `v >= 0`: tensor number v is allocated, `v < 0`: tensor ~v is freed, or `EMPTY_CACHE`."""
    sizes: np.ndarray
    """int64; bytes of each tensor."""
    owners: np.ndarray
    """uint8; an `Owner` for each tensor."""
    tensor_modules: np.ndarray
    """int32; for each tensor, the index into `modules` of the one it was born in."""
    modules: tuple[str, ...]
    """Module paths; the first is the model itself, the empty path."""
    marks: tuple[Mark, ...]
    operators: Operators | None
    facts: dict[str, Any]
    """What else the trace saw: parameter counts, the attention kernels chosen, assumptions made."""

    def mark_of(self, event: int) -> Mark:
        """Return the phase and step that an event belongs to."""
        starts = [mark.event for mark in self.marks]
        return self.marks[max(int(np.searchsorted(starts, event, side="right")) - 1, 0)]

    def live_tensors(self, event: int) -> np.ndarray:
        """Return the numbers of the tensors alive after an event."""
        before = self.events[: event + 1]
        before = before[before != EMPTY_CACHE]
        alive = np.zeros(len(self.sizes), dtype=bool)
        born, died = before[before >= 0], ~before[before < 0]
        alive[born] = True
        alive[died] = False
        return np.flatnonzero(alive)

    def with_sizes(self, sizes: Sequence[int] | np.ndarray) -> Ledger:
        """Return the same events with other sizes, as at another batch size or length."""
        return replace(self, sizes=np.asarray(sizes, dtype=np.int64), operators=None)
