"""`Target`: what of a GPU decides which kernels run, and so what a trial allocates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts

_OLDEST = (7, 0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The kernels of one kind of GPU. GPUs with equal targets have equal ledgers."""

    capability: tuple[int, int]
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

    @property
    def name(self) -> str:
        """A short name, such as `sm_89/142`."""
        return f"sm_{self.capability[0]}{self.capability[1]}/{self.sm_count or '-'}"
