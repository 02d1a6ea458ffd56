"""`ScriptAnswer`: whether a user's script fits on a GPU, told from a run of it. Its JSON is a contract."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimators.memory import Verdict
from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.virtual import VirtualDevice
from profiler.script.record import Ending

if TYPE_CHECKING:
    from profiler.catalog import GpuFacts
    from profiler.catalog.gpu_memory import GpuMemory
    from profiler.script import ScriptRequest, ScriptRun

SCHEMA_VERSION = 1
"""Of the JSON of an answer; raised when a key goes away or changes its meaning."""

# The second step is the first with the optimizer's states and the last step's leftovers in memory.
_FEWEST_STEPS = 2


def roomiest_device(gpu: GpuFacts) -> VirtualDevice:
    """Return a virtual GPU that has as much room as a card of its kind can have.

    What runs out of memory there fits on none; what stays below the least room that a card can have takes the
    same course on all of them, because the allocator does not look at the card before it is full.

    Raises:
        NotPossibleError: If nothing is known of the GPU's memory.
    """
    memory = gpu_memory(gpu)
    return VirtualDevice(
        gpu.id, memory_bytes=memory.usable_bytes_range[1], context_bytes=memory.context_bytes_range[0]
    )


@dataclass(frozen=True, kw_only=True)
class ScriptAnswer:
    """Whether a script fits on a GPU; sizes in bytes."""

    run: ScriptRun
    command: tuple[str, ...]
    device: str
    gpu: str | None
    """Id in the catalogue, of a virtual GPU."""
    world_size: int
    """GPUs that the script was told of; figures are of one."""
    verdict: Verdict | None
    """None where the script ended by an error of its own."""
    cannot_tell_because: str | None
    fits_only_with_retries: bool
    """Whether it fits only because the allocator gave its cache back when memory was short."""
    memory: GpuMemory | None
    """Of a virtual GPU: what such cards have, and what the CUDA context is assumed to take."""

    @property
    def assumed_process_bytes(self) -> int | None:
        """Peak of reserved memory and the context that is assumed; None on a real GPU."""
        reserved = self.run.peak_reserved_bytes
        return None if self.memory is None or reserved is None else reserved + self.memory.context_bytes

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values; what is absent is None."""
        run = dataclasses.asdict(self.run)
        memory = self.memory
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict,
            "cannot_tell_because": self.cannot_tell_because,
            "fits_only_with_retries": self.fits_only_with_retries,
            "command": list(self.command),
            "device": self.device,
            "gpu": self.gpu,
            "world_size": self.world_size,
            "peak_allocated_bytes": run.pop("peak_allocated_bytes"),
            "peak_reserved_bytes": run.pop("peak_reserved_bytes"),
            "assumed_process_bytes": self.assumed_process_bytes,
            "assumed_context_bytes": memory.context_bytes if memory else None,
            "context_bytes_range": list(memory.context_bytes_range) if memory else None,
            "usable_bytes_range": list(memory.usable_bytes_range) if memory else None,
            "gpu_memory_source": memory.source if memory else None,
            **run,
            "snapshot": str(self.run.snapshot) if self.run.snapshot else None,
        }


def script_answer(run: ScriptRun, request: ScriptRequest, command: tuple[str, ...]) -> ScriptAnswer:
    """Judge a run.

    Args:
        run: What happened.
        request: What was asked for.
        command: As the user wrote it.

    Raises:
        NotPossibleError: If nothing is known of the GPU's memory.
    """
    device = request.device
    gpu = device.gpu if isinstance(device, VirtualDevice) else None
    memory = gpu_memory(gpu) if gpu is not None else None
    verdict, because = _verdict(run, memory)
    return ScriptAnswer(
        run=run,
        command=command,
        device=device.name,
        gpu=gpu.id if gpu is not None else None,
        world_size=request.world_size,
        verdict=verdict,
        cannot_tell_because=because,
        fits_only_with_retries=verdict is Verdict.FITS and bool(run.alloc_retries),
        memory=memory,
    )


def _verdict(run: ScriptRun, memory: GpuMemory | None) -> tuple[Verdict | None, str | None]:
    if run.ending is Ending.OOM:
        return Verdict.DOES_NOT_FIT, None
    if run.ending is Ending.ERROR or (run.ending is Ending.KILLED and run.stop_reason is None):
        return None, None
    if not run.used_gpu or run.peak_reserved_bytes is None:
        return Verdict.CANNOT_TELL, "the script did not use the GPU"
    was_cut_short = run.ending in (Ending.INTERRUPTED, Ending.KILLED) or run.stop_reason == "time"
    if was_cut_short and run.steps < _FEWEST_STEPS:
        return Verdict.CANNOT_TELL, f"it was stopped after {run.steps} steps, and peaks come later"
    if memory is not None and run.peak_reserved_bytes > memory.room_bytes_range[0]:
        return Verdict.CANNOT_TELL, "such cards differ in what they have, and it lies within that range"
    return Verdict.FITS, None
