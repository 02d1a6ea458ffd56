"""`virtual:GPU`: the CUDA device's own code, on a GPU of the catalogue that is not there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from profiler.catalog.gpus import find_gpu
from profiler.devices.cuda import (
    CudaDevice,
    CudaMeter,
    EventTimer,
    allocator_variables,
    user_allocator_settings,
)
from profiler.devices.protocol import Failure
from profiler.devices.virtual import core, values
from profiler.devices.virtual.build import virtual_libraries
from profiler.devices.virtual.profile import GpuProfile, gpu_profile
from profiler.errors import NotPossibleError, first_line
from profiler.measurement import Outcome, Reason

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

    import torch

    from profiler.spec import TrialSpec

# What cudaErrorOperatingSystem says; the stand-ins return it where the host's kernel gives no address space.
_HOST_REFUSED = "OS call failed or operation not supported on this OS"


# glibc keeps freed blocks below a limit that grows with use, and splits them for small ones: the weights that
# pass through the host would stay there, all of them (mallopt(3), M_MMAP_THRESHOLD).
_HOST_MEMORY_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


class VirtualDevice(CudaDevice):
    """A GPU that accounts for memory and computes integers and booleans only.

    Args:
        gpu: Id, name or alias of a GPU of the catalogue.
        memory_bytes: What torch is to see as its total; see `gpu_profile`.
        context_bytes: What the driver is to take of it; see `gpu_profile`.

    Raises:
        UsageError: If the catalogue has no such GPU.
    """

    origin = "virtual"

    def __init__(
        self, gpu: str, *, memory_bytes: int | None = None, context_bytes: int | None = None
    ) -> None:
        super().__init__(0)
        self.gpu = find_gpu(gpu)
        self.name = self.name_in_trial = f"virtual:{self.gpu.id}"
        self._memory_bytes = memory_bytes
        self._context_bytes = context_bytes

    def _profile(self) -> GpuProfile:
        return gpu_profile(
            self.gpu,
            virtual_libraries().architectures,
            memory_bytes=self._memory_bytes,
            context_bytes=self._context_bytes,
        )

    def child_environment(self, spec: TrialSpec | None) -> dict[str, str]:
        """Return the variables that preload the libraries, describe the GPU and set the allocator.

        Raises:
            NotPossibleError: If there can be no such virtual GPU here.
        """
        profile = self._profile()
        return {
            **virtual_libraries().variables,
            **profile.variables,
            "CUDA_VISIBLE_DEVICES": "0",
            **_HOST_MEMORY_VARIABLES,
            **allocator_variables(spec),
        }

    def facts(self) -> dict[str, Any]:
        """Return name and memory of the GPU, and the user's allocator settings.

        Raises:
            NotPossibleError: If there can be no such virtual GPU here.
        """
        profile = self._profile()
        return {
            "device_name": profile.name,
            "driver_version": "virtual",
            "device_memory_bytes": profile.memory_bytes,
            "device_context_bytes": profile.context_bytes,
            "allocator_settings": user_allocator_settings(),
        }

    def torch_device(self) -> torch.device:
        """Return torch's `cuda:0`, on which integers and booleans are computed from now on.

        Raises:
            NotPossibleError: If this process was not started with `child_environment`.
        """
        if core.loaded_core() is None:
            raise NotPossibleError(
                f"{self.name} is only there in a process that was started with its libraries"
            )
        device = super().torch_device()
        values.install()
        return device

    def meter(self) -> VirtualMeter:
        """Return a new meter."""
        return VirtualMeter(self._state())

    def peak_flops_per_second(self, precision: str) -> float | None:
        """Return nothing: no step has a time on the device."""
        return None

    def failure(self, error: BaseException) -> Failure | None:
        """Recognise, besides what a real GPU's errors mean, what a virtual one cannot do; it is named."""
        if (known := super().failure(error)) is not None:
            return known
        if _HOST_REFUSED in str(error):
            return Failure(
                outcome=Outcome.FAILED,
                reason=Reason.NOT_POSSIBLE,
                message="the host refuses the address space that a virtual GPU reserves: it needs no limit "
                "on it (ulimit -v) and overcommitting (vm.overcommit_memory) of 0 or 1",
            )
        unwritten = core.unwritten_functions()
        if unwritten and re.search(r"not.supported", str(error), flags=re.IGNORECASE):
            names = ", ".join(unwritten)
            return Failure(
                outcome=Outcome.FAILED,
                reason=Reason.NOT_POSSIBLE,
                message=f"{first_line(error)} (a virtual GPU does not have {names})",
            )
        return None


class VirtualMeter(CudaMeter):
    """Memory and host time; what only a real card has is absent."""

    def begin(self) -> None:
        """Start from nothing; what earlier trials of the process assumed is not this one's."""
        super().begin()
        values.install().forget_notes()

    def timing(self) -> contextlib.AbstractContextManager[HostTimer]:
        """Time what the host takes to issue each step."""
        return self._timing(HostTimer(self._cuda))

    def notes(self) -> Sequence[str]:
        """Name the functions that were called and are not there, and what was taken to be instead."""
        return [*core.notes(), *values.install().notes()]


class HostTimer(EventTimer):
    """Times steps on the host alone: the clock of a virtual GPU tells no time that a real one takes."""

    def step_seconds(self) -> Sequence[float]:
        """Return nothing: no step has a time on the device."""
        return []
