"""The moment at which memory ran out, as torch's allocator tells it before it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .user_code import current_stack

if TYPE_CHECKING:
    from .allocator_peaks import AllocatorPeaks
    from .timeline import Timeline


class OutOfMemoryWatch:
    """Keeps the last time that memory ran out.

    Args:
        timeline: Says in which phase.
        peaks: The allocator's.
    """

    def __init__(self, timeline: Timeline, peaks: AllocatorPeaks) -> None:
        self._timeline, self._peaks = timeline, peaks
        self.last: dict[str, Any] | None = None

    def watch(self, torch: Any) -> None:
        """Begin once the script begins to use the GPU."""
        torch.cuda._lazy_call(lambda: torch._C._cuda_attach_out_of_memory_observer(self._out_of_memory))

    def _out_of_memory(self, device: int, requested: int, device_total: int, device_free: int) -> None:
        allocated, reserved = self._peaks.current()
        stack = current_stack()
        self.last = {
            "oom_requested_bytes": requested,
            "oom_allocated_bytes": allocated,
            "oom_reserved_bytes": reserved,
            "phase": self._timeline.now.phase,
            "step": self._timeline.now.step,
            "line": stack[0] if stack else self._timeline.now.line,
            "stack": stack,
        }
