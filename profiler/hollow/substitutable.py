"""Which models a script may be given hollow, and what its process needs to know to do so."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from profiler.catalog import models
from profiler.spec.normalize import TASK_OF_MODEL

# Models that the hub has under a name without an owner, too.
_LEGACY_OWNERS = ("distilbert", "FacebookAI", "google-bert", "google-t5", "openai-community")


def substitution_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of `substitution.install`, ready for JSON.

    Args:
        folder: Where the checkpoints are made, in the run's temporary folder.
    """
    return {
        "folder": str(folder),
        # -P: a profiler.py beside the script must not stand for ours.
        "command": [sys.executable, "-P", str(Path(__file__).with_name("make_hollow.py"))],
        # The script's own environment makes a virtual GPU, which this has no use for.
        "environment": {**os.environ, "TMPDIR": str(folder)},
        "models": sorted(hub_ids()),
    }


def hub_ids() -> set[str]:
    """Return the hub ids, in lower case, of the catalogue's models that can be hollow; no short names."""
    known = set()
    for model in models().values():
        if model.task not in TASK_OF_MODEL:
            continue
        owner, _, name = model.id.partition("/")
        known |= {alias.casefold() for alias in (model.id, *model.aliases) if "/" in alias}
        if owner in _LEGACY_OWNERS:
            known.add(name.casefold())
    return known
