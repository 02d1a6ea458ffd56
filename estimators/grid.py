"""`memory_grid`: the reserved memory of a trial over batch sizes and lengths, and the edge of what fits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from estimators.memory import Verdict, fits, peak_reserved_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from estimators.ledger import Ledger
    from estimators.sizes import SizeModel
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

_SUPPORTS = 8
"""Cells per axis that are replayed for the others to be interpolated from."""


@dataclass(frozen=True, kw_only=True)
class MemoryGrid:
    """Figures of each combination; arrays have the shape (batch sizes, lengths)."""

    batch_sizes: tuple[int, ...]
    lengths: tuple[int, ...]
    peak_reserved_bytes: NDArray[np.float64]
    is_replayed: NDArray[np.bool_]
    """Whether a cell was replayed; the others are interpolated."""
    largest_batch: tuple[int | None, ...]
    """For each length, the largest of the batch sizes that fits, found by replaying; None if none does."""


def memory_grid(
    model: SizeModel, spec: TrialSpec, gpu: GpuFacts, *, batch_sizes: Sequence[int], lengths: Sequence[int]
) -> MemoryGrid:
    """Replay the cells along the edge of what fits, and some others, and interpolate the rest.

    Args:
        model: Sizes of the trial in both, batch size and length.
        spec: The trial.
        gpu: The GPU it shall fit on.
        batch_sizes: In ascending order.
        lengths: In ascending order.

    Raises:
        ValueError: If either is empty or not in ascending order.
        NotPossibleError: If nothing is known of the GPU's memory.
    """
    for name, values in (("batch_sizes", batch_sizes), ("lengths", lengths)):
        if not values or any(first >= second for first, second in pairwise(values)):
            raise ValueError(f"{name} must ascend and not be empty")
    cells = _Cells(model, spec, gpu, batch_sizes, lengths)
    edge = _edge(cells)
    supports = [_supports(len(batch_sizes)), _supports(len(lengths))]
    for row in supports[0]:
        for column in supports[1]:
            cells.reserved(row, column)
    return MemoryGrid(
        batch_sizes=tuple(batch_sizes),
        lengths=tuple(lengths),
        peak_reserved_bytes=_filled(cells.known, *supports),
        is_replayed=~np.isnan(cells.known),
        largest_batch=tuple(None if row < 0 else batch_sizes[row] for row in edge),
    )


class _Cells:
    """Replays cells on demand, each once."""

    def __init__(
        self,
        model: SizeModel,
        spec: TrialSpec,
        gpu: GpuFacts,
        batch_sizes: Sequence[int],
        lengths: Sequence[int],
    ) -> None:
        self._model, self._spec, self._gpu = model, spec, gpu
        self._batch_sizes, self._lengths = batch_sizes, lengths
        self.shape = (len(batch_sizes), len(lengths))
        self.known = np.full(self.shape, np.nan)

    def reserved(self, row: int, column: int) -> float:
        """Return the peak of reserved memory of a cell, in bytes."""
        if np.isnan(self.known[row, column]):
            self.known[row, column] = peak_reserved_bytes(self._ledger(row, column), self._spec)
        return float(self.known[row, column])

    def fits(self, row: int, column: int) -> bool:
        """Return whether a cell fits."""
        reserved, ledger = int(self.reserved(row, column)), self._ledger(row, column)
        return fits(ledger, self._spec, self._gpu, reserved_bytes=reserved) is Verdict.FITS

    def _ledger(self, row: int, column: int) -> Ledger:
        return self._model.ledger(batch_size=self._batch_sizes[row], sequence_length=self._lengths[column])


def _edge(cells: _Cells) -> list[int]:
    """Return the row of the largest batch that fits for each length, -1 where none does.

    What fits at a length fits at every shorter one, so the edge is a staircase, walked down once.
    """
    rows, columns = cells.shape
    row = rows - 1
    edge = []
    for column in range(columns):
        while row >= 0 and not cells.fits(row, column):
            row -= 1
        edge.append(row)
    return edge


def _supports(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(_SUPPORTS, count)).round().astype(int))


def _filled(
    known: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Interpolate bilinearly between the supports, and keep what was replayed."""
    by_column = np.array([np.interp(np.arange(known.shape[1]), columns, known[row, columns]) for row in rows])
    filled = np.array([np.interp(np.arange(known.shape[0]), rows, column) for column in by_column.T]).T
    return np.where(np.isnan(known), filled, known)
