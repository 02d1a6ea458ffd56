"""How much memory of a GPU a training process can use, and what its CUDA context takes of it.

`gpu_memory.csv` has what public sources say, one row per GPU of the catalogue that has any. A source is a
thread (`owner/repository#number`) or document that names the card and the figure, or the line of a public
log, quoted so that it can be searched for; Unsloth's "GB" are GiB. The lowest and highest reading make the
range: drivers and ECC move it, and a figure printed with two decimals of GiB is rounded outward.

*Torch's total* is `torch.cuda.get_device_properties(0).total_memory`, which out-of-memory messages print as
the capacity. Windows and WSL2 show torch the driver's whole total; where nothing else was found, the low end
is blank. Where a figure is missing, it is a fraction of the driver's total (of the number on the box where
that was not sourced either), as far as the fractions of the cards with figures reach, ECC included: 0.946 to
1 on GeForce cards, 0.924 (0.909 of the box) to 1 on others.

*Context* is the memory of a training process beyond torch's segments: what NVML, or an out-of-memory message
of torch 2.1 or newer, gives the process, less what torch reserved. A card with one reading gets 15 % either
way, which is the spread between processes on the cards with several. It grows with the multiprocessors: where
there is no reading, it is 2.5 to 5.6 MiB for each of them, typically 3.9, as on the cards with readings;
a card with fewer than the smallest of those, of 40, is taken to have 40.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from profiler.catalog.gpus import GpuFacts

_MIB = 2**20

# A test holds these to the rows of the file.
GEFORCE_FRACTIONS = (0.946, 1.0)
"""Torch's total of GeForce cards, of the driver's total or the number on the box."""
OTHER_FRACTIONS = (0.924, 1.0)
"""Torch's total of other cards, of the driver's total."""
OTHER_NOMINAL_FRACTIONS = (0.909, 1.0)
"""Torch's total of other cards, of the number on the box."""
CONTEXT_MIB_PER_SM = (2.5, 3.9, 5.6)
"""Context in MiB for each multiprocessor: low, typical, high."""
FEWEST_SM = 40
"""Multiprocessors of the smallest card whose context was read."""


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Memory of one GPU for one process, in bytes; ranges are what sources, or their lack, leave open."""

    usable_bytes_range: tuple[int, int]
    """What torch sees as the card's total."""
    context_bytes: int
    context_bytes_range: tuple[int, int]
    source: str
    """Where both come from; one line."""

    @property
    def room_bytes_range(self) -> tuple[int, int]:
        """What is left for torch's segments."""
        return (
            self.usable_bytes_range[0] - self.context_bytes_range[1],
            self.usable_bytes_range[1] - self.context_bytes_range[0],
        )


@dataclass(frozen=True, kw_only=True)
class SourcedMemory:
    """A row of `gpu_memory.csv`, in MiB; None where no source was found."""

    torch_total_mib_low: int | None
    torch_total_mib_high: int | None
    context_mib_low: int | None
    context_mib: int | None
    context_mib_high: int | None
    source: dict[str, str]
    """Sources of `torch` and `context`, of those that have one."""


def gpu_memory(gpu: GpuFacts) -> GpuMemory:
    """Return the memory of a GPU of the catalogue.

    Raises:
        NotPossibleError: If neither its context nor its multiprocessors are known.
    """
    row = sourced_memory().get(gpu.id)
    usable, usable_source = _usable_mib(gpu, row)
    (low, typical, high), context_source = _context_mib(gpu, row)
    return GpuMemory(
        usable_bytes_range=(usable[0] * _MIB, usable[1] * _MIB),
        context_bytes=typical * _MIB,
        context_bytes_range=(low * _MIB, high * _MIB),
        source=f"torch's total: {usable_source}; context: {context_source}",
    )


@functools.cache
def sourced_memory() -> dict[str, SourcedMemory]:
    """Return the rows of `gpu_memory.csv` by the id of the GPU."""
    text = resources.files("profiler.catalog").joinpath("gpu_memory.csv").read_text(encoding="utf-8")
    rows = {}
    for cells in csv.DictReader(text.splitlines()):
        gpu_id, source = cells.pop("id"), cells.pop("source")
        rows[gpu_id] = SourcedMemory(
            **{name: int(cell) if cell else None for name, cell in cells.items()},
            source=dict(part.split(": ", 1) for part in source.split(" | ")),
        )
    return rows


def _usable_mib(gpu: GpuFacts, row: SourcedMemory | None) -> tuple[tuple[int, int], str]:
    """Return the range of torch's total, and its source."""
    if gpu.memory_mib is not None:
        total, of = float(gpu.memory_mib), "the driver's total"
        fractions = GEFORCE_FRACTIONS if "GeForce" in gpu.name else OTHER_FRACTIONS
    else:
        total, of = gpu.nominal_gib * 1024, "the number on the box"
        fractions = GEFORCE_FRACTIONS if "GeForce" in gpu.name else OTHER_NOMINAL_FRACTIONS
    low, high = math.floor(fractions[0] * total), math.ceil(fractions[1] * total)
    unsourced = f"{fractions[0]:g} to {fractions[1]:g} of {of}, as on cards with a source"
    if row is None or row.torch_total_mib_high is None:
        return (low, high), unsourced
    if row.torch_total_mib_low is None:
        return (low, row.torch_total_mib_high), f"{row.source['torch']}; elsewhere {unsourced}"
    return (row.torch_total_mib_low, row.torch_total_mib_high), row.source["torch"]


def _context_mib(gpu: GpuFacts, row: SourcedMemory | None) -> tuple[tuple[int, int, int], str]:
    """Return the context's low end, typical value and high end, and their source."""
    if row and row.context_mib_low and row.context_mib and row.context_mib_high:
        return (row.context_mib_low, row.context_mib, row.context_mib_high), row.source["context"]
    if gpu.sm_count is None:
        raise NotPossibleError(f"no source gives the CUDA context of {gpu.name}, nor its multiprocessors")
    low, typical, high = CONTEXT_MIB_PER_SM
    count = max(gpu.sm_count, FEWEST_SM)
    return (
        (math.floor(low * count), round(typical * count), math.ceil(high * count)),
        f"{low:g} to {high:g} MiB for each multiprocessor, as on NVIDIA cards with a source",
    )
