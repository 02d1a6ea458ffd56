"""The folder in which sizeup keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ENVIRONMENT_VARIABLE = "SIZEUP_CACHE"


def cache_folder() -> Path:
    """Return the folder: `SIZEUP_CACHE`, else the user's cache folder."""
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_cache_path("sizeup"))


def virtual_gpu_folder() -> Path:
    """Return where the libraries of virtual GPUs are: a folder for each build, hidden while it is made."""
    return cache_folder() / "virtual-gpu"
