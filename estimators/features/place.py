"""`Place`: the device and the software that a configuration runs on, as features need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimators.target import Target
from profiler.catalog import find_gpu
from profiler.catalog.gpus import gpu_by_driver_name
from profiler.errors import NotPossibleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from profiler.catalog import GpuFacts


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a configuration runs."""

    target: Target
    gpu: GpuFacts | None
    """None on a CPU."""
    device: str
    """Id of the GPU in the catalogue, or name of the CPU."""
    facts: Mapping[str, Any]
    """Facts of the environment, as `Environment` has them."""

    @classmethod
    def of(cls, device: str, facts: Mapping[str, Any]) -> Place:
        """Return the place of a measurement.

        Args:
            device: As a measurement says it: `cpu`, `cuda:0`, `virtual:l40s`.
            facts: The facts of its environment; of a GPU, `device_name` and `device_memory_bytes`.

        Raises:
            NotPossibleError: If the catalogue does not know the GPU, or it is older than what torch is built
                for.
        """
        if device == "cpu":
            name = facts.get("host_cpu") or facts.get("device_name") or "cpu"
            return cls(target=Target.cpu(), gpu=None, device=str(name), facts=facts)
        return cls.on(_gpu_of(device, facts), facts)

    @classmethod
    def on(cls, gpu: GpuFacts, facts: Mapping[str, Any]) -> Place:
        """Return the place of a GPU of the catalogue.

        Raises:
            NotPossibleError: If it is no CUDA GPU, or older than what torch is built for.
        """
        return cls(target=Target.of(gpu), gpu=gpu, device=gpu.id, facts=facts)


def _gpu_of(device: str, facts: Mapping[str, Any]) -> GpuFacts:
    name, memory = str(facts.get("device_name") or ""), facts.get("device_memory_bytes")
    if isinstance(memory, int | float) and (gpu := gpu_by_driver_name(name, memory / 2**20)) is not None:
        return gpu
    try:
        return find_gpu(device.removeprefix("virtual:") if device.startswith("virtual:") else name)
    except UsageError as error:
        raise NotPossibleError(f"{device} cannot be told from the catalogue's GPUs: {error}") from None
