"""What a command is doing, as one line of a terminal that changes."""

from __future__ import annotations

import sys
from typing import Any, Self


class Stages:
    """Shows what is being done, on a terminal only.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._status: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, stage: str) -> None:
        """Show a stage."""
        if self._status is not None:
            self._status.update(stage)
