"""The line to the supervisor: one JSON object a line, appended at once, so that a killed script leaves it."""

from __future__ import annotations

import json
import os
import threading
from typing import Any


class Events:
    """Writes what happens to a file.

    Args:
        path: The file; it is made.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._process_id = os.getpid()
        self._counts: dict[str, dict[str, int]] = {}
        self._notes: dict[str, None] = {}
        self._lock = threading.RLock()

    def write(self, event: str, **values: Any) -> None:
        """Write one event; what a forked process does is not the script's."""
        if os.getpid() == self._process_id:
            os.write(self._file, json.dumps({"event": event, **values}).encode() + b"\n")

    def count(self, what: str, of: str) -> None:
        """Count that something was suppressed or redirected.

        Args:
            what: The kind, such as `redirected`.
            of: What it was done to, such as a folder.
        """
        with self._lock:
            counts = self._counts.setdefault(what, {})
            counts[of] = counts.get(of, 0) + 1
            is_new = counts[of] == 1
        if is_new:  # all of them follow at the end; a script that is killed leaves at least the names
            self.write("count", what=what, of=of, times=1)

    def note(self, sentence: str) -> None:
        """Say something that the report repeats, once."""
        if sentence not in self._notes:
            self._notes[sentence] = None
            self.write("note", sentence=sentence)

    def write_counts(self) -> None:
        """Write every count."""
        with self._lock:
            for what, counts in self._counts.items():
                for of, times in counts.items():
                    self.write("count", what=what, of=of, times=times)
