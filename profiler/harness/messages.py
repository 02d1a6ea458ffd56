"""What the supervisor and the processes of trials say to each other: JSON, one message a line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Self

from profiler.harness.protocol import MeasurementProtocol
from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """One trial to run."""

    spec: TrialSpec
    device: str
    protocol: MeasurementProtocol

    def to_line(self) -> str:
        """Return the message as a line."""
        protocol = self.protocol.model_dump()
        return json.dumps({"spec": self.spec.canonical, "device": self.device, "protocol": protocol}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read a message back."""
        content = json.loads(line)
        return cls(
            spec=TrialSpec.from_canonical(content["spec"]),
            device=content["device"],
            protocol=MeasurementProtocol.model_validate(content["protocol"]),
        )


class Reporter:
    """Writes events to the supervisor's pipe: `ready`, `started`, `phase`, `progress`, `result`, `exited`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, event: str, **content: Any) -> None:
        """Send one event; only one process writes at a time, so long lines stay whole."""
        data = json.dumps({"event": event, **content}).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
