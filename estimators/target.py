"""`Target`: what of a GPU decides which kernels run, and so what a trial allocates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts

_OLDEST = (7, 0)
CPU = (0, 0)
"""What stands for a compute capability where the kernels are the CPU's."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The kernels of one kind of GPU, or of the CPU. GPUs with equal targets have equal ledgers."""

    capability: tuple[int, int]
    """Compute capability; `CPU` for the CPU."""
    sm_count: int | None
    """Streaming multiprocessors; None where no source was found."""

    @classmethod
    def of(cls, gpu: GpuFacts) -> Target:
        """Return the target of a GPU of the catalogue.

        Raises:
            NotPossibleError: If it is no CUDA GPU, or older than what torch is built for.
        """
        if gpu.vendor != "NVIDIA" or gpu.compute_capability is None:
            raise NotPossibleError(f"{gpu.name} is not a CUDA GPU, and only their allocator is known")
        major, minor = gpu.compute_capability.split(".")
        capability = (int(major), int(minor))
        if capability < _OLDEST:
            raise NotPossibleError(
                f"{gpu.name} has compute capability {gpu.compute_capability}; torch is built for 7.0 or newer"
            )
        return cls(capability=capability, sm_count=gpu.sm_count)

    @classmethod
    def cpu(cls) -> Target:
        """Return the target of the CPU's kernels; its memory is that of tensors, without an allocator."""
        return cls(capability=CPU, sm_count=None)

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.capability == CPU

    @property
    def name(self) -> str:
        """A short name, such as `sm_89/142` or `cpu`."""
        if self.is_cpu:
            return "cpu"
        return f"sm_{self.capability[0]}{self.capability[1]}/{self.sm_count or '-'}"
