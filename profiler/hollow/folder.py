"""The folder of a hollow checkpoint: what may be written where, and the marker that says what it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub.constants import HF_HUB_CACHE

from profiler.environment import package_version
from profiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKER = "sizeup-hollow.json"
_SCHEMA_VERSION = 1
_README = """\
# A hollow checkpoint of {model}

Made by `sizeup hollow`. It loads like the model's checkpoint, but holds no weights: every weight reads as
zero, and the tokenizer is a stand-in. It is for trying how much memory a script needs, not for training.
"""


def check_folder(folder: Path, *, force: bool) -> None:
    """Say no to a folder that holds anything but a hollow checkpoint that may be replaced.

    Raises:
        UsageError: If it may not be written.
    """
    cache = Path(HF_HUB_CACHE).resolve()
    if cache in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"{folder} is in the hub cache {cache}, where a hollow checkpoint must not be")
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise UsageError(f"{folder} is a file, not a folder")
        return
    strangers = sorted({entry.name for entry in folder.iterdir()} - own_files(folder))
    if strangers:
        raise UsageError(
            f"{folder} holds {strangers[0]}, which is no part of a hollow checkpoint: give another folder"
        )
    if own_files(folder) and not force:
        raise UsageError(f"{folder} holds a hollow checkpoint already: give another folder, or --force")


def own_files(folder: Path) -> set[str]:
    """Return the names of the files that the marker of a folder lists, itself included; none without one."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return {MARKER, *(str(name) for name in marker["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def write_marker(folder: Path, model: str) -> None:
    """Write the marker and a README beside the files that are there."""
    (folder / "README.md").write_text(_README.format(model=model), encoding="utf-8")
    marker = {
        "schema_version": _SCHEMA_VERSION,
        "what": "a hollow checkpoint: no weights, and a tokenizer that only stands in for the model's",
        "model": model,
        "sizeup": package_version("sizeup"),
        "transformers": package_version("transformers"),
        "files": sorted(entry.name for entry in folder.iterdir()),
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def move_in(made: Path, folder: Path) -> None:
    """Move the files of a finished checkpoint into its folder; those of an older one go."""
    for name in own_files(folder) - {entry.name for entry in made.iterdir()}:
        (folder / name).unlink(missing_ok=True)
    for entry in sorted(made.iterdir(), key=lambda entry: entry.name == MARKER):  # the marker last
        shutil.move(entry, folder / entry.name)


def disk_bytes(files: Iterable[Path]) -> int:
    """Return what files take on disk; the holes of a sparse file take nothing."""
    return sum(file.stat().st_blocks * 512 for file in files)  # stat(2): in units of 512 bytes
