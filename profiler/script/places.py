"""Where the files are that a user's process is given by path."""

from __future__ import annotations

from pathlib import Path

INJECTED_FOLDER = Path(__file__).resolve().with_name("inject")
VIRTUAL_FOLDER = Path(__file__).resolve().parents[1] / "devices" / "virtual"
HOLLOW_FOLDER = Path(__file__).resolve().parents[1] / "hollow"
