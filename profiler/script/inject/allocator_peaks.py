"""Peaks of torch's CUDA allocator between borders of our own; the script's own view of them stays true."""

from __future__ import annotations

import threading
from typing import Any

# Of the device that the script sees first, which is the one that is watched.
DEVICE = 0


class AllocatorPeaks:
    """Reads and resets the allocator's peaks, and answers for it what the script asks of them."""

    def __init__(self) -> None:
        self._torch: Any = None
        # The highest peaks that our resets took away, since the script last reset them itself.
        self._taken: dict[tuple[str, str], int] = {}
        self._since_border = (0, 0)
        self._lock = threading.RLock()

    def watch(self, torch: Any) -> None:
        """Begin, once torch is imported."""
        self._torch = torch
        self._stats = torch._C._cuda_memoryStats
        self._reset = torch._C._cuda_resetPeakMemoryStats
        torch._C._cuda_memoryStats = self._stats_of_script
        torch._C._cuda_resetPeakMemoryStats = self._reset_of_script
        if hasattr(torch._C, "_accelerator_getDeviceStats"):
            self._accelerator_stats = torch._C._accelerator_getDeviceStats
            self._accelerator_reset = torch._C._accelerator_resetPeakStats
            torch._C._accelerator_getDeviceStats = self._accelerator_stats_of_script
            torch._C._accelerator_resetPeakStats = self._accelerator_reset_of_script

    @property
    def is_there(self) -> bool:
        """Whether the script has used the GPU; asking does not begin to."""
        return self._torch is not None and bool(self._torch.cuda.is_initialized())

    def take(self) -> tuple[int, int]:
        """Return the peaks of allocated and reserved bytes since the last time, and start anew."""
        if not self.is_there:
            return (0, 0)
        with self._lock:
            self._take_from_script()
            peaks, self._since_border = self._since_border, (0, 0)
        return peaks

    def current(self) -> tuple[int, int]:
        """Return allocated and reserved bytes of now."""
        if not self.is_there:
            return (0, 0)
        stats = self._stats(DEVICE)
        return stats["allocated_bytes"]["all"]["current"], stats["reserved_bytes"]["all"]["current"]

    def counters(self) -> dict[str, int]:
        """Return how often the allocator gave back its cache and tried again, and ran out of memory."""
        if not self.is_there:
            return {}
        stats = self._stats(DEVICE)
        return {"alloc_retries": stats["num_alloc_retries"], "ooms": stats["num_ooms"]}

    def _take_from_script(self) -> None:
        stats = self._stats(DEVICE)
        for name, pools in stats.items():
            for pool, counts in pools.items() if isinstance(pools, dict) else ():
                if isinstance(counts, dict) and "peak" in counts:
                    key = (name, pool)
                    self._taken[key] = max(self._taken.get(key, 0), counts["peak"])
        self._since_border = (
            max(self._since_border[0], stats["allocated_bytes"]["all"]["peak"]),
            max(self._since_border[1], stats["reserved_bytes"]["all"]["peak"]),
        )
        self._reset(DEVICE)

    def _with_taken(self, stats: dict[str, Any]) -> dict[str, Any]:
        for (name, pool), peak in self._taken.items():
            counts = stats.get(name, {}).get(pool)
            if counts is not None:
                counts["peak"] = max(counts["peak"], peak)
        return stats

    def _stats_of_script(self, device: int) -> dict[str, Any]:
        with self._lock:
            stats: dict[str, Any] = self._stats(device)
            return self._with_taken(stats) if device == DEVICE else stats

    def _reset_of_script(self, device: int) -> None:
        with self._lock:
            if device != DEVICE:
                self._reset(device)
                return
            self._take_from_script()
            self._taken.clear()

    def _accelerator_stats_of_script(self, device: int) -> dict[str, Any]:
        with self._lock:
            stats: dict[str, Any] = self._accelerator_stats(device)
            return self._with_taken(stats) if device == DEVICE else stats

    def _accelerator_reset_of_script(self, device: int) -> None:
        if device == DEVICE:
            self._reset_of_script(device)
        else:
            self._accelerator_reset(device)
