"""The environment of a measurement: the machine and the versions that its figures depend on.

Nothing here imports torch, so the supervisor of trials can ask without holding a GPU.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler.measurement import Environment

if TYPE_CHECKING:
    from profiler.devices.protocol import Device

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")


def environment_of(device: Device) -> Environment:
    """Return the environment of trials on a device.

    Raises:
        NotPossibleError: If the device is not there.
    """
    return Environment(facts={**host_facts(), **device.facts()})


@functools.cache
def host_facts() -> dict[str, Any]:
    """Return the facts of the machine and its software; versions that are not installed are left out."""
    import psutil

    return {
        "host_cpu": cpu_model(),
        "host_cpu_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        # What firmware and kernel keep changes with an update: the nearest GiB does not.
        "host_memory_gib": round(psutil.virtual_memory().total / 2**30),
        "host_threads": os.environ.get("OMP_NUM_THREADS"),
        "platform": f"{platform.system()} {platform.machine()}",
        "python_version": platform.python_version(),
        **{f"{package}_version": package_version(package) for package in _PACKAGES},
        "cuda_version": torch_cuda_version(),
    }


def package_version(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_cuda_version() -> str | None:
    """Return the CUDA version torch was built for, or None for a CPU build; read without importing torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda[^=\n]*=\s*['\"]([\d.]+)['\"]", text, flags=re.MULTILINE)
    return found[1] if found else None


@functools.cache
def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()
