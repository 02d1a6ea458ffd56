"""How much memory of a GPU a training process can use, and what its CUDA context takes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts

_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Memory of one GPU for one process, in bytes; ranges are what sources, or the lack of them, leave open."""

    usable_bytes_range: tuple[int, int]
    """What torch sees as the card's total."""
    context_bytes: int
    context_bytes_range: tuple[int, int]
    source: str

    @property
    def room_bytes_range(self) -> tuple[int, int]:
        """What is left for torch's segments."""
        return (
            self.usable_bytes_range[0] - self.context_bytes_range[1],
            self.usable_bytes_range[1] - self.context_bytes_range[0],
        )


def gpu_memory(gpu: GpuFacts) -> GpuMemory:
    """Return the memory of a GPU of the catalogue.

    Raises:
        NotPossibleError: If no source gives its memory.
    """
    if gpu.memory_mib is None:
        raise NotPossibleError(f"no source gives the memory that the driver of {gpu.name} reports")
    total = gpu.memory_mib * _MIB
    return GpuMemory(
        usable_bytes_range=(round(0.96 * total), total),
        context_bytes=300 * _MIB,
        context_bytes_range=(105 * _MIB, 600 * _MIB),
        source="driver's total",
    )
