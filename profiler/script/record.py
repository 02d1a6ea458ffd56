"""What is known of a script that ran: read from its events, of which a killed one leaves the first."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Ending(enum.StrEnum):
    """How a script ended."""

    ENDED = "ended"
    """By itself, without error."""
    STOPPED = "stopped"
    """By us: enough was seen, or the time was up."""
    OOM = "oom"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    """Before it could report."""


@dataclass(frozen=True, kw_only=True)
class PhasePeak:
    """Peaks of one phase of one step, in bytes."""

    step: int
    """Number of the optimizer step, from 0; what is evaluated and saved after it is of it."""
    phase: str
    peak_allocated_bytes: int
    peak_reserved_bytes: int


@dataclass(frozen=True, kw_only=True)
class OutOfMemory:
    """Where memory ran out; bytes are those of that moment."""

    phase: str
    step: int
    line: str | None
    """The innermost line of the user's."""
    stack: tuple[str, ...]
    """Lines of the user's, from the innermost out."""
    oom_requested_bytes: int
    oom_allocated_bytes: int
    oom_reserved_bytes: int


@dataclass(frozen=True, kw_only=True)
class Holder:
    """What held memory at the peak."""

    category: str
    """`parameters`, `gradients`, `optimizer`, `activations`, `temporary`, `other`."""
    size_bytes: int
    line: str | None = None
    """The user's line that allocated it."""
    inside: str | None = None
    """The line of a library, torch itself left out, that it led to."""


@dataclass(frozen=True, kw_only=True)
class Holders:
    """What held memory at the peak of allocated memory, as far back as torch's memory history goes."""

    step: int | None
    phase: str | None
    line: str | None
    size_bytes: int
    by_category: tuple[Holder, ...]
    by_line: tuple[Holder, ...]


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """A script that ran; what is not known is None."""

    ending: Ending
    stop_reason: str | None = None
    """`steps`, `stable` or `time`, of one that was stopped."""
    message: str | None = None
    line: str | None = None
    """Of an error, the user's innermost line."""
    exit_code: int | None = None
    """What the process ended with; negative is a signal."""
    seconds: float
    trainer: str | None = None
    """The trainer that was asked to end."""
    used_gpu: bool | None = None
    steps: int
    """Optimizer steps that ended."""
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_process_bytes: int | None = None
    """What NVML says the process held, on a real GPU."""
    resident_bytes: int | None = None
    """Allocated after the last step."""
    alloc_retries: int | None = None
    ooms: int | None = None
    """How often memory ran out, also where the script went on."""
    timeline: tuple[PhasePeak, ...] = ()
    out_of_memory: OutOfMemory | None = None
    holders: Holders | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What was `redirected`, `saves`, `uploads`, `reports`, `refused`, `programs`: what, and how often."""
    notes: tuple[str, ...] = ()
    snapshot: Path | None = None
    """torch's memory snapshot, where one was asked for and could be taken."""


class EventReader:
    """Reads the events of a script while it writes them, each once.

    Args:
        path: The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.events: list[dict[str, Any]] = []
        """All that were read, in order."""

    def read(self) -> list[dict[str, Any]]:
        """Return the events since the last call; a line that is not written to its end waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                written, _, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        if not written:
            return []
        self._position += len(written) + 1
        new = [json.loads(line) for line in written.split(b"\n")]
        self.events += new
        return new


def script_run(
    events: Iterable[Mapping[str, Any]],
    *,
    exit_code: int,
    seconds: float,
    was_interrupted: bool,
    peak_process_bytes: int | None = None,
    snapshot: Path | None,
) -> ScriptRun:
    """Put the events of a script together.

    Args:
        events: In order.
        exit_code: Of the process; negative is a signal.
        seconds: What it took.
        was_interrupted: Whether the user did so.
        peak_process_bytes: What NVML says that it held, on a real GPU.
        snapshot: The file that was to be written, if it is there.
    """
    events = list(events)
    end = next((event for event in events if event["event"] == "end"), None)
    ending = Ending(end["outcome"]) if end is not None else Ending.KILLED
    if was_interrupted and ending in (Ending.KILLED, Ending.STOPPED):
        ending = Ending.INTERRUPTED
    end = end or {}
    peaks = _timeline(events)
    steps = [event for event in events if event["event"] == "step"]
    oom = end.get("oom")
    return ScriptRun(
        ending=ending,
        stop_reason=end.get("reason"),
        message=end.get("message"),
        line=end.get("line"),
        exit_code=exit_code,
        seconds=seconds,
        trainer=next((event["name"] for event in events if event["event"] == "trainer"), None),
        used_gpu=end.get("used_gpu", bool(peaks) or None),
        steps=len(steps),
        peak_allocated_bytes=max((peak.peak_allocated_bytes for peak in peaks), default=None),
        peak_reserved_bytes=max((peak.peak_reserved_bytes for peak in peaks), default=None),
        peak_process_bytes=peak_process_bytes,
        resident_bytes=steps[-1]["resident_bytes"] if steps else None,
        alloc_retries=end.get("alloc_retries"),
        ooms=end.get("ooms"),
        timeline=peaks,
        out_of_memory=OutOfMemory(**{**oom, "stack": tuple(oom["stack"])}) if oom is not None else None,
        holders=_holders(end.get("holders")),
        counts=_counts(events),
        notes=tuple(dict.fromkeys(event["sentence"] for event in events if event["event"] == "note")),
        snapshot=snapshot,
    )


def _timeline(events: Iterable[Mapping[str, Any]]) -> tuple[PhasePeak, ...]:
    """Return one entry for each phase of each step: the micro-batches of a step are one."""
    peaks: dict[tuple[int, str], tuple[int, int]] = {}
    for event in events:
        if event["event"] == "phase":
            key = (event["step"], event["phase"])
            before = peaks.get(key, (0, 0))
            peaks[key] = (
                max(before[0], event["peak_allocated_bytes"]),
                max(before[1], event["peak_reserved_bytes"]),
            )
    return tuple(
        PhasePeak(step=step, phase=phase, peak_allocated_bytes=allocated, peak_reserved_bytes=reserved)
        for (step, phase), (allocated, reserved) in peaks.items()
    )


def _holders(found: Mapping[str, Any] | None) -> Holders | None:
    if found is None or not found["by_category"]:
        return None
    return Holders(
        step=found.get("step"),
        phase=found.get("phase"),
        line=found.get("line"),
        size_bytes=found["bytes"],
        by_category=tuple(Holder(**row) for row in found["by_category"]),
        by_line=tuple(Holder(**row) for row in found["by_line"]),
    )


def _counts(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for event in events:
        if event["event"] == "count":
            counts.setdefault(event["what"], {})[event["of"]] = event["times"]
    return counts
