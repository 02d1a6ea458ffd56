"""Which GPUs a question is about: those named, all of them, or the one that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.target import Target
from profiler.catalog import find_gpu, gpus
from profiler.catalog.gpu_memory import gpu_memory
from profiler.catalog.gpus import gpu_by_driver_name
from profiler.devices.nvml import gpu_state, visible_gpu
from profiler.errors import NotPossibleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.catalog import GpuFacts

ALL = "all"


def chosen_gpus(names: Sequence[str]) -> list[GpuFacts]:
    """Return the GPUs with some names, each once, as given; the one of this machine if there are no names.

    Args:
        names: Names of the catalogue, or `all`: every GPU that can be asked about, by memory.

    Raises:
        UsageError: If there is no such GPU, `all` is not alone, or there are no names and no GPU here that
            the catalogue knows.
    """
    if not names:
        return [_gpu_of_this_machine()]
    if ALL not in names:
        return list({gpu.id: gpu for gpu in map(find_gpu, names)}.values())
    if len(names) > 1:
        raise UsageError("give --gpu all, or names of GPUs, not both")
    known = [gpu for gpu in gpus().values() if _can_be_asked_about(gpu)]
    return sorted(known, key=lambda gpu: (gpu_memory(gpu).usable_bytes_range[1], gpu.id))


def _can_be_asked_about(gpu: GpuFacts) -> bool:
    try:
        Target.of(gpu)
        gpu_memory(gpu)
    except NotPossibleError:
        return False
    return True


def _gpu_of_this_machine() -> GpuFacts:
    name_one = "name one with --gpu ('sizeup gpus' lists them)"
    try:
        state = gpu_state(visible_gpu(0))
    except NotPossibleError as error:
        raise UsageError(f"there is no GPU here to ask about: {name_one}; {error}") from None
    found = None
    if state.memory_total_bytes is not None:
        found = gpu_by_driver_name(state.name, state.memory_total_bytes / 2**20)
    if found is None:
        raise UsageError(f"the GPU of this machine, {state.name}, is not in the catalogue: {name_one}")
    return found
