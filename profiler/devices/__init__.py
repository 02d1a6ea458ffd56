"""What trials run on: one protocol, and `cpu`, `cuda` and `virtual:GPU` behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from profiler.devices.cpu import CpuDevice
from profiler.devices.cuda import CudaDevice
from profiler.devices.virtual import VirtualDevice
from profiler.errors import NotPossibleError, UsageError, nearest

if TYPE_CHECKING:
    from profiler.devices.protocol import Device as Device


def find_device(name: str | None = None) -> Device:
    """Return the device with this name.

    Args:
        name: `cpu`, `cuda`, `cuda:N` or `virtual:GPU`; None takes the first GPU that the driver
            knows, else the CPU.

    Raises:
        UsageError: If the name is none of these, or the catalogue does not know the virtual GPU.
    """
    if name is None:
        return CudaDevice() if _has_gpu() else CpuDevice()
    if name == "cpu":
        return CpuDevice()
    if found := re.fullmatch(r"cuda(?::(\d+))?", name):
        return CudaDevice(int(found[1] or 0))
    if name.startswith("virtual:"):
        return VirtualDevice(name.removeprefix("virtual:"))
    close = nearest(name, ["cpu", "cuda", "virtual:GPU"], count=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"unknown device {name!r}; known: cpu, cuda, cuda:N, virtual:GPU{hint}")


def _has_gpu() -> bool:
    from profiler.devices.nvml import gpu_state, visible_gpu

    try:
        gpu_state(visible_gpu(0))
        return True
    except NotPossibleError:
        return False
