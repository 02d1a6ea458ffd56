"""What this machine can measure, and with what: findings of one sentence each. Nothing is printed here."""

from __future__ import annotations

import enum
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError, SizeupError, first_line

if TYPE_CHECKING:
    from profiler.devices.nvml import GpuState

_MIB, _GIB = 2**20, 2**30
_PYTHON_PACKAGES = {
    "transformers": "builds the models",
    "peft": "builds the training methods",
    "accelerate": "is needed by transformers' training",
}


class Status(enum.StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARN = "warn"
    NONE = "none"
    """Not there, which is no fault by itself: a machine without a GPU measures on its CPU."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    status: Status
    message: str


def examine(store_location: str | Path | None = None) -> list[Finding]:
    """Look at the GPUs, the libraries, the processor, the store and the caches.

    It imports torch, which takes seconds, and changes nothing; a store that is not there is not made.

    Args:
        store_location: The store to look at, as for `Store.open`.
    """
    gpus, driver = _find_gpus()
    return [
        driver,
        *_gpu_findings(gpus),
        *_torch_findings(gpus),
        *_package_findings(),
        *_host_findings(),
        _store_finding(store_location),
        _trace_cache_finding(),
        _model_cache_finding(),
        _compiler_finding(),
        _virtual_gpu_finding(),
    ]


def _find_gpus() -> tuple[list[GpuState], Finding]:
    from profiler.devices.nvml import gpu_count, gpu_state

    try:
        gpus = [gpu_state(index) for index in range(gpu_count())]
    except NotPossibleError as error:
        return [], Finding(
            subject="GPU driver", status=Status.NONE, message=f"{error}; trials run on the CPU."
        )
    if not gpus:
        message = "The driver answers, but knows no GPU; trials run on the CPU."
        return [], Finding(subject="GPU driver", status=Status.NONE, message=message)
    version = gpus[0].driver_version or "of unknown version"
    message = f"NVIDIA driver {version} knows {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}."
    return gpus, Finding(subject="GPU driver", status=Status.OK, message=message)


def _gpu_findings(gpus: list[GpuState]) -> list[Finding]:
    from profiler.catalog.gpus import gpu_by_driver_name

    findings = []
    for gpu in gpus:
        status, parts = Status.OK, [gpu.name]
        if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None:
            free = gpu.memory_total_bytes - gpu.memory_used_bytes
            parts.append(f"{free / _GIB:.1f} of {gpu.memory_total_bytes / _GIB:.1f} GiB free")
            if gpu_by_driver_name(gpu.name, gpu.memory_total_bytes / 2**20) is None:
                status = Status.WARN
                parts.append("not in the catalogue, so figures relative to its peak are absent")
        if gpu.sm_clock_mhz is not None and gpu.max_sm_clock_mhz is not None:
            parts.append(f"SM clock {gpu.sm_clock_mhz} of {gpu.max_sm_clock_mhz} MHz")
        if gpu.processes:
            status = Status.WARN
            parts.append(
                f"used by {_count(len(gpu.processes), 'other process')}, which disturbs measurements"
            )
        findings.append(Finding(subject=f"cuda:{gpu.index}", status=status, message=f"{', '.join(parts)}."))
    return findings


def _torch_findings(gpus: list[GpuState]) -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken installation of CUDA's libraries is an OSError
        message = f"torch cannot be imported, so nothing can be measured: {first_line(error)}"
        return [Finding(subject="torch", status=Status.WARN, message=message)]
    build = torch.version.cuda
    if build is None:
        status = Status.WARN if gpus else Status.OK
        why = ": it cannot use the GPU; install a CUDA build." if gpus else "."
        return [
            Finding(subject="torch", status=status, message=f"torch {torch.__version__}, a CPU build{why}")
        ]
    findings = [
        Finding(
            subject="torch", status=Status.OK, message=f"torch {torch.__version__}, built for CUDA {build}."
        )
    ]
    if torch.cuda.is_available():
        message = f"torch can use {_count(torch.cuda.device_count(), 'GPU')}."
        findings.append(Finding(subject="torch and CUDA", status=Status.OK, message=message))
    elif gpus:
        message = "The driver knows a GPU, but torch cannot use it; its driver may be too old for this build."
        findings.append(Finding(subject="torch and CUDA", status=Status.WARN, message=message))
    else:
        message = "torch finds no GPU it can use."
        findings.append(Finding(subject="torch and CUDA", status=Status.NONE, message=message))
    return [*findings, _architecture_finding(torch.cuda.is_available())]


def _architecture_finding(is_available: bool) -> Finding:
    import torch

    from profiler.devices.architectures import runs_on

    # torch.cuda.get_arch_list is empty on machines without a GPU, although the flags are those of the build.
    flags = getattr(torch._C, "_cuda_getArchFlags", str)()
    architectures = str(flags or "").split()
    built_for = f"torch was built for {', '.join(architectures) or 'unknown architectures'}"
    for index in range(torch.cuda.device_count() if is_available else 0):
        try:
            major, minor = torch.cuda.get_device_capability(index)
        except RuntimeError as error:
            message = f"torch cannot use cuda:{index}: {first_line(error)}"
            return Finding(subject="GPU architectures", status=Status.WARN, message=message)
        if architectures and not runs_on(architectures, major, minor):
            message = f"{built_for}, which leaves out cuda:{index} (sm_{major}{minor})."
            return Finding(subject="GPU architectures", status=Status.WARN, message=message)
    return Finding(subject="GPU architectures", status=Status.OK, message=f"{built_for}.")


def _package_findings() -> list[Finding]:
    from profiler.environment import package_version

    findings = []
    for package, purpose in _PYTHON_PACKAGES.items():
        version = package_version(package)
        if version is None:
            message = f"{package} is not installed; it {purpose}."
            findings.append(Finding(subject=package, status=Status.WARN, message=message))
        else:
            findings.append(Finding(subject=package, status=Status.OK, message=f"{package} {version}."))
    version = package_version("bitsandbytes")
    if version is None:
        message = "bitsandbytes is not installed: no quantised models or 8-bit optimizers; add sizeup[quant]."
        return [*findings, Finding(subject="bitsandbytes", status=Status.NONE, message=message)]
    return [*findings, Finding(subject="bitsandbytes", status=Status.OK, message=f"bitsandbytes {version}.")]


def _host_findings() -> list[Finding]:
    import psutil

    from profiler.environment import host_facts

    facts, memory = host_facts(), psutil.virtual_memory()
    cores = _count(facts["host_cpu_cores"], "core")
    is_short = memory.available < memory.total / 2
    message = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB available"
    message += "; other programs hold the rest, and may disturb measurements." if is_short else "."
    return [
        Finding(subject="CPU", status=Status.OK, message=f"{facts['host_cpu']}, {cores} to be used."),
        Finding(subject="memory", status=Status.WARN if is_short else Status.OK, message=message),
    ]


def _store_finding(location: str | Path | None) -> Finding:
    from profiler.store import Store
    from profiler.store.location import find_store

    try:
        place = find_store(location)
        if isinstance(place, Path) and not place.exists():
            if (obstacle := _obstacle(place)) is None:
                message = f"There is none yet; the first measurement makes {place}."
                return Finding(subject="store", status=Status.NONE, message=message)
            message = f"There is none at {place}, and none can be made: {obstacle} cannot be written."
            return Finding(subject="store", status=Status.WARN, message=message)
        with Store.open(location, must_exist=True) as store:
            info = store.info()
    except SizeupError as error:
        return Finding(subject="store", status=Status.WARN, message=f"{error}.")
    holds = f"{info.location} holds {_count(info.measurements, 'measurement')}"
    if not info.is_writable:
        return Finding(subject="store", status=Status.WARN, message=f"{holds}, but cannot be written.")
    return Finding(subject="store", status=Status.OK, message=f"{holds}.")


def _trace_cache_finding() -> Finding:
    from estimators.cache import cache_use

    use = cache_use()
    holds = f"{use.folder} holds {_count(use.files, 'file')} ({use.bytes / _MIB:,.1f} MiB)"
    if (obstacle := _obstacle(use.folder)) is not None:
        message = f"{holds}, and nothing can be added: {obstacle} cannot be written."
        return Finding(subject="trace cache", status=Status.WARN, message=message)
    if not use.files:
        message = f"{use.folder} holds nothing yet; traces and answers are kept there."
        return Finding(subject="trace cache", status=Status.NONE, message=message)
    message = f"{holds}; 'sizeup cache clear' empties it."
    return Finding(subject="trace cache", status=Status.OK, message=message)


def _model_cache_finding() -> Finding:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    if folder.is_dir():
        message = f"{folder}; the catalogue's models need nothing from it."
        return Finding(subject="model cache", status=Status.OK, message=message)
    message = f"{folder} is not there yet; the catalogue's models need nothing from it."
    return Finding(subject="model cache", status=Status.NONE, message=message)


def _compiler_finding() -> Finding:
    command = os.environ.get("CC", "cc").split()[0]
    if (path := shutil.which(command)) is not None:
        return Finding(subject="C compiler", status=Status.OK, message=f"{path}.")
    message = f"{command} is not there; trials with --compile and virtual GPUs need a C compiler."
    return Finding(subject="C compiler", status=Status.NONE, message=message)


def _virtual_gpu_finding() -> Finding:
    from profiler.devices.virtual.build import compiler, libraries_folder

    try:
        if not libraries_folder().is_dir():
            compiler()
            message = "It can be compiled here, at the first trial with --device virtual:GPU."
            return Finding(subject="virtual GPU", status=Status.OK, message=message)
    except NotPossibleError as error:
        return Finding(subject="virtual GPU", status=Status.NONE, message=f"{error}.")
    message = f"It is compiled for the installed torch, in {libraries_folder()}."
    return Finding(subject="virtual GPU", status=Status.OK, message=message)


def _obstacle(place: Path) -> Path | None:
    """Return what keeps a place from being written: it or the nearest folder that is there; else None."""
    found = next(path for path in (place, *place.parents) if path.exists())
    return None if found.is_dir() and os.access(found, os.W_OK) else found


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
