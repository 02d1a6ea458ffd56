"""What a virtual GPU is like: the catalogue's facts, in the terms in which CUDA describes a device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.architectures import newest_code_for
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.catalog.gpus import GpuFacts

ENVIRONMENT_VARIABLE = "SIZEUP_VIRTUAL_GPU"
_KIB, _MIB = 2**10, 2**20
_MEMORY_BUS_BITS = 256  # as in c/virtual_gpu.h

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": threads, blocks and KiB of
# shared memory that a multiprocessor holds, and KiB of shared memory that one block may ask for.
_LIMITS = {
    "7.5": (1024, 16, 64, 64),
    "8.0": (2048, 32, 164, 163),
    "8.6": (1536, 16, 100, 99),
    "8.9": (1536, 24, 100, 99),
    "9.0": (2048, 32, 228, 227),
    "10.0": (2048, 32, 228, 227),
    "10.3": (2048, 32, 228, 227),
    "12.0": (1536, 24, 100, 99),
}


@dataclass(frozen=True, kw_only=True)
class GpuProfile:
    """One GPU; the fields are those of `vg_profile` in `c/virtual_gpu.h`."""

    name: str
    major: int
    minor: int
    """Compute capability."""
    binary_version: int
    """The newest architecture torch has code for that runs on it, such as 86."""
    multiprocessors: int
    memory_bytes: int
    """What torch sees as its total."""
    context_bytes: int
    """What the driver takes of it for one process."""
    threads_per_multiprocessor: int
    blocks_per_multiprocessor: int
    shared_per_multiprocessor: int
    """Shared memory in bytes."""
    shared_per_block_optin: int
    """Shared memory that one block may ask for, in bytes."""
    l2_bytes: int
    clock_khz: int
    """Boost clock; 0 where no source gives it. Triton reads it for estimates of time only."""
    memory_clock_khz: int
    """With the width of the bus that is assumed, it gives the bandwidth; 0 where no source gives that."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variable that `c/profile.c` reads."""
        return {ENVIRONMENT_VARIABLE: "\n".join(f"{name}={value}" for name, value in asdict(self).items())}


def gpu_profile(
    gpu: GpuFacts,
    architectures: Sequence[str],
    *,
    memory_bytes: int | None = None,
    context_bytes: int | None = None,
) -> GpuProfile:
    """Return the profile of a GPU of the catalogue.

    Args:
        gpu: Which.
        architectures: What torch was compiled for, such as `sm_86`.
        memory_bytes: What torch is to see as its total; by default the least that a source or the card's
            relatives give, so that what fits here fits on every such card.
        context_bytes: What the driver is to take of it; by default the typical amount.

    Raises:
        NotPossibleError: If it is of another vendor, older than what torch was compiled for, or a fact that
            CUDA needs was not sourced.
    """
    if gpu.vendor != "NVIDIA":
        raise NotPossibleError(f"{gpu.name} is a GPU of {gpu.vendor}: only NVIDIA's can be virtual")
    known = {"compute capability": gpu.compute_capability, "number of multiprocessors": gpu.sm_count}
    if missing := [fact for fact, value in known.items() if value is None]:
        raise NotPossibleError(f"no source gives the {' and the '.join(missing)} of {gpu.name}")
    assert gpu.compute_capability is not None
    assert gpu.sm_count is not None
    major, minor = (int(part) for part in gpu.compute_capability.split("."))
    code = newest_code_for(architectures, major, minor)
    if code is None:
        raise NotPossibleError(
            f"{gpu.name} has compute capability {gpu.compute_capability}, for which the installed torch has "
            f"no code: it was compiled for {', '.join(architectures)}"
        )
    if gpu.compute_capability not in _LIMITS:
        raise NotPossibleError(
            f"the limits of compute capability {gpu.compute_capability} ({gpu.name}) are not known; "
            f"known: {', '.join(_LIMITS)}"
        )
    threads, blocks, shared_kib, optin_kib = _LIMITS[gpu.compute_capability]
    memory = gpu_memory(gpu)
    return GpuProfile(
        name=gpu.name,
        major=major,
        minor=minor,
        binary_version=code[0] * 10 + code[1],
        multiprocessors=gpu.sm_count,
        memory_bytes=memory.usable_bytes_range[0] if memory_bytes is None else memory_bytes,
        context_bytes=memory.context_bytes if context_bytes is None else context_bytes,
        threads_per_multiprocessor=threads,
        blocks_per_multiprocessor=blocks,
        shared_per_multiprocessor=shared_kib * _KIB,
        shared_per_block_optin=optin_kib * _KIB,
        l2_bytes=round((gpu.l2_mib or 0) * _MIB),
        clock_khz=(gpu.boost_clock_mhz or 0) * 1000,
        # Two transfers a clock, each of so many bits as VG_MEMORY_BUS_BITS.
        memory_clock_khz=round((gpu.bandwidth_gb_s or 0) * 1e6 * 8 / (2 * _MEMORY_BUS_BITS)),
    )
