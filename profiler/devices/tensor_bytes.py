"""Bytes of CPU tensors over time, as torch's own CPU allocator reports them to torch's profiler.

The allocator reports every allocation, also those inside an operator that no dispatch mode sees
(`ProfiledCPUMemoryReporter` in c10/core/CPUAllocator.cpp), but only while a profiler listens, and it stays
silent when memory from before is freed. So a recording starts from what is alive, and nothing that is alive
then may be freed while it runs (the caller drops gradients and kept outputs first).
"""

from __future__ import annotations

import bisect
import contextlib
import gc
from typing import TYPE_CHECKING, Any

from profiler.measurement import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "sizeup:"


class Recording:
    """The reports of one recording, in order of time."""

    def __init__(self) -> None:
        self._times_ns: list[int] = []
        self._totals_bytes: list[int] = []
        self._phases: list[tuple[Phase, int, int]] = []

    def read(self, events: Any) -> None:
        """Take the profiler's events."""
        total = 0
        changes = []
        for event in events:
            name = event.name()
            if name == "[memory]":
                changes.append((event.start_ns(), event.nbytes()))
            elif name.startswith(_MARK):
                self._phases.append((Phase(name.removeprefix(_MARK)), event.start_ns(), event.end_ns()))
        for time_ns, change in sorted(changes, key=lambda found: found[0]):
            total += change
            self._times_ns.append(time_ns)
            self._totals_bytes.append(total)

    def peak_bytes(self, *, base_bytes: int) -> int:
        """Return the highest total, given what was alive at the start."""
        return base_bytes + max(self._totals_bytes, default=0)

    def final_bytes(self, *, base_bytes: int) -> int:
        """Return the total at the end."""
        return base_bytes + (self._totals_bytes[-1] if self._totals_bytes else 0)

    def phase_peaks_bytes(self, *, base_bytes: int) -> dict[Phase, int]:
        """Return the highest total in each phase; a phase also holds what was alive when it began."""
        peaks: dict[Phase, int] = {}
        for phase, start_ns, end_ns in self._phases:
            first = bisect.bisect_left(self._times_ns, start_ns)
            last = bisect.bisect_right(self._times_ns, end_ns)
            before = [self._totals_bytes[first - 1] if first else 0]
            highest = base_bytes + max(before + self._totals_bytes[first:last])
            peaks[phase] = max(peaks.get(phase, 0), highest)
        return peaks


class TensorBytes:
    """Records the bytes of CPU tensors."""

    @contextlib.contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record what the allocator reports inside; the recording is filled when it ends."""
        import torch

        recorded = Recording()
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            yield recorded
        recorded.read(profile.profiler.kineto_results.events())

    @contextlib.contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Mark a phase in the recording."""
        import torch

        with torch.profiler.record_function(f"{_MARK}{phase}"):
            yield

    def live_bytes(self) -> int:
        """Return the bytes of every CPU storage that is alive, each counted once."""
        import torch

        gc.collect()  # a cycle that nobody refers to would go at any moment, unreported
        storages: dict[int, int] = {}
        for found in gc.get_objects():
            if issubclass(type(found), torch.Tensor) and found.device.type == "cpu":
                with contextlib.suppress(RuntimeError, NotImplementedError):  # a tensor without storage
                    storage = found.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
        return sum(storages.values())
