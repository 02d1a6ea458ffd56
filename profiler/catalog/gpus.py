"""The catalogue of GPUs: what a card is, from public sources that each row names.

`gpus.csv` has one row per variant that differs in memory, form or clocks. All tensor rates are dense, with
fp32 accumulate (the rate training gets). A blank cell was not sourced, or does not apply.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass, fields
from importlib import resources

from profiler.errors import UsageError, unknown


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """One GPU of the catalogue; None where no source was found."""

    id: str
    name: str
    """As NVML or the vendor's tool prints it."""
    aliases: tuple[str, ...]
    vendor: str
    architecture: str
    compute_capability: str | None
    memory_mib: int | None
    """Total the driver reports, in MiB."""
    nominal_gib: float
    """The number on the box."""
    bandwidth_gb_s: float | None
    """Memory bandwidth in GB/s (10^9 bytes)."""
    sm_count: int | None
    l2_mib: float | None
    boost_clock_mhz: int | None
    tdp_w: float | None
    fp32_tflops: float | None
    tf32_tflops_dense: float | None
    fp16_tflops_dense: float | None
    bf16_tflops_dense: float | None
    fp8_tflops_dense: float | None
    int8_tops_dense: float | None
    nvlink_gb_s: float | None
    pcie: str | None
    checked: int
    """2: two sources agree on the 16-bit peak and two on the bandwidth; 1: anything less."""
    source: str
    notes: str | None


_TEXT = {"id", "name", "vendor", "architecture", "compute_capability", "pcie", "source", "notes"}
_WHOLE = {"memory_mib", "sm_count", "boost_clock_mhz", "checked"}


@functools.cache
def gpus() -> dict[str, GpuFacts]:
    """Return every GPU of the catalogue by id."""
    text = resources.files("profiler.catalog").joinpath("gpus.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["id"]: _facts(row) for row in rows}


def _facts(row: dict[str, str]) -> GpuFacts:
    values: dict[str, object] = {}
    for name in (column.name for column in fields(GpuFacts)):
        cell = row[name].strip()
        if name == "aliases":
            values[name] = tuple(alias.strip() for alias in cell.split(";") if alias.strip())
        elif not cell:
            values[name] = None
        elif name in _TEXT:
            values[name] = cell
        else:
            values[name] = int(cell) if name in _WHOLE else float(cell)
    return GpuFacts(**values)  # type: ignore[arg-type]  # the data's test checks every cell


def _folded(name: str) -> str:
    """Return a name without what people and drivers vary: case, spaces, hyphens and the maker's name."""
    return re.sub(r"[\s_-]+", "", name.casefold()).removeprefix("nvidia")


@functools.cache
def _by_name() -> dict[str, tuple[GpuFacts, ...]]:
    named: dict[str, dict[str, GpuFacts]] = {}
    for gpu in gpus().values():
        for name in (gpu.id, gpu.name, *gpu.aliases):
            named.setdefault(_folded(name), {})[gpu.id] = gpu
    return {name: tuple(found.values()) for name, found in named.items()}


def find_gpu(name: str) -> GpuFacts:
    """Return the GPU with this id, name or alias; case, spaces and hyphens do not matter.

    Raises:
        UsageError: If the catalogue has none (it names the nearest), or if cards with different memory share
            the name. Another card is never put in its place.
    """
    match _by_name().get(_folded(name), ()):
        case (gpu,):
            return gpu
        case ():
            spellings = [spelling for gpu in gpus().values() for spelling in (*gpu.aliases, gpu.id)]
            known = {_folded(spelling): spelling for spelling in spellings}.values()
            raise unknown("GPU", name, known, hint="('sizeup gpus' lists them)")
        case several:
            raise UsageError(f"{name!r} names several cards: say {' or '.join(gpu.id for gpu in several)}")


def gpu_by_driver_name(name: str, memory_mib: float) -> GpuFacts | None:
    """Return the GPU that a driver calls `name`, or None if the catalogue has none or cannot tell.

    Cards sold with two memory sizes under one name are told apart by memory, within 7 % of the driver's total
    (ECC takes 1/16 on GDDR cards, so both readings of one card stay inside; where no driver's total was
    sourced, the number on the box is within 7 % of it too).
    """
    near = [
        gpu
        for gpu in _by_name().get(_folded(name), ())
        if abs((gpu.memory_mib or gpu.nominal_gib * 1024) - memory_mib) <= 0.07 * memory_mib
    ]
    return near[0] if len(near) == 1 else None
