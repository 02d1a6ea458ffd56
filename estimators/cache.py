"""Where traces and answers are kept, so that the same question is answered at once the next time.

A file's name is a hash of everything its content follows from: the question, the versions of the libraries
that were executed, and our own source. So nothing in it ever goes out of date, and every file may be deleted
at any time.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs

from profiler.spec.frozen import canonical_json

ENVIRONMENT_VARIABLE = "SIZEUP_CACHE"
_EXECUTED = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "numpy")


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """What a cache holds."""

    folder: Path
    files: int
    bytes: int


def cache_folder() -> Path:
    """Return the folder: `SIZEUP_CACHE`, else the user's cache folder."""
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_cache_path("sizeup"))


def cached_path(kind: str, content: dict[str, Any]) -> Path:
    """Return where the file of some content is, or would be.

    Args:
        kind: What it is, such as `ledger`; also the name of its folder and its suffix.
        content: All that it follows from, as JSON values, besides the libraries and our source.
    """
    text = canonical_json({"content": content, "versions": _versions(), "source": _source()})
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return cache_folder() / kind / f"{name}.{kind}"


def cache_use() -> CacheUse:
    """Return how many files the cache holds, and of how many bytes."""
    sizes = [file.stat().st_size for file in _files()]
    return CacheUse(folder=cache_folder(), files=len(sizes), bytes=sum(sizes))


def clear_cache() -> CacheUse:
    """Delete every file of the cache, and return what it held; other files in the folder stay."""
    used = cache_use()
    for file in _files():
        file.unlink(missing_ok=True)
    return used


def _files() -> list[Path]:
    return [file for kind in ("ledger", "answer") for file in (cache_folder() / kind).glob("*") if file.is_file()]


@functools.cache
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _EXECUTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def _source() -> str:
    """Return a hash of the source that decides what a trace or an answer holds."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in ("estimators", "planner/fit", "profiler/workload", "profiler/spec", "profiler/catalog"):
        for path in sorted((root / room).rglob("*")):
            if path.suffix in (".py", ".json", ".csv"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
