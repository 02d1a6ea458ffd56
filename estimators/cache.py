"""Where traces and answers are kept, so that the same question is answered at once the next time.

A file's name is a hash of everything its content follows from: the question, the versions of the libraries
that were executed, and our own source. So nothing in it ever goes out of date, and every file may be deleted
at any time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from profiler.cache_folder import cache_folder, virtual_gpu_folder
from profiler.environment import package_version
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = ("ledger", "answer", "totals")
_ABANDONED_SECONDS = 3600
# Our source that a ledger follows from, and further source that answers and totals of steps follow from.
_TRACED = (
    "estimators/symbolic", "estimators/ledger.py", "estimators/ledger_file.py", "estimators/target.py",
    "profiler/workload", "profiler/spec", "profiler/catalog/models.py", "profiler/catalog/models.json",
)  # fmt: skip
_ANSWERED = ("estimators", "planner/fit", "profiler/catalog")
_SUMMED = (
    "estimators/features/totals.py", "estimators/features/sizes.py", "estimators/features/source.py",
    "estimators/allocator", "estimators/memory.py", "estimators/sizes.py",
)  # fmt: skip
_SOURCE = {"ledger": _TRACED, "answer": (*_TRACED, *_ANSWERED), "totals": (*_TRACED, *_SUMMED)}
_EXECUTED = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "numpy")


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """What a cache holds."""

    folder: Path
    files: int
    bytes: int


def cached_path(kind: str, content: dict[str, Any]) -> Path:
    """Return where the file of some content is, or would be.

    Args:
        kind: What it is, such as `ledger`; also the name of its folder and its suffix.
        content: All that it follows from, as JSON values, besides the libraries and our source.
    """
    text = canonical_json({"content": content, "versions": _versions(), "source": _source(kind)})
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return cache_folder() / kind / f"{name}.{kind}"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write, which takes its place at once when it is whole: readers see the old or the new.

    Raises:
        OSError: If it cannot be written; nothing is left of it then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cache_use() -> CacheUse:
    """Return how many files the cache holds, and of how many bytes."""
    sizes = _files().values()
    return CacheUse(folder=cache_folder(), files=len(sizes), bytes=sum(sizes))


def clear_cache() -> CacheUse:
    """Delete every file of the cache, and return what it held; other files in the folder stay.

    Raises:
        OSError: If one cannot be deleted.
    """
    files = _files()
    for build in _builds():
        # Out of the way first, at once: a build is whole, or not there.
        shutil.rmtree(build.rename(build.with_name(f".deleting-{os.getpid()}-{build.name}")))
    for file in files:
        file.unlink(missing_ok=True)
    return CacheUse(folder=cache_folder(), files=len(files), bytes=sum(files.values()))


def _files() -> dict[Path, int]:
    """Return the files of the cache and their bytes.

    A `.part` is somebody's who is writing it, unless it is so old that its writer must have been killed.
    """
    files = {}
    for kind in _KINDS:
        for file in (cache_folder() / kind).glob("*"):
            with contextlib.suppress(FileNotFoundError):  # somebody else may be clearing it
                facts = file.stat()
                is_abandoned = file.suffix == ".part" and _is_abandoned(facts)
                if stat.S_ISREG(facts.st_mode) and (file.suffix == f".{kind}" or is_abandoned):
                    files[file] = facts.st_size
    for build in _builds():
        files |= {file: file.stat().st_size for file in build.iterdir() if file.is_file()}
    return files


def _builds() -> list[Path]:
    """Return the folders of compiled virtual GPUs; one that somebody is making is not among them."""
    return [
        folder
        for folder in virtual_gpu_folder().glob("*")
        if folder.is_dir() and (not folder.name.startswith(".") or _is_abandoned(folder.stat()))
    ]


def _is_abandoned(facts: os.stat_result) -> bool:
    return facts.st_mtime < time.time() - _ABANDONED_SECONDS


@functools.cache
def _versions() -> dict[str, str | None]:
    return {name: package_version(name) for name in _EXECUTED}


@functools.cache
def _source(kind: str) -> str:
    """Return a hash of our source that decides what a file of this kind holds."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in _SOURCE[kind]:
        place = root / room
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.suffix in (".py", ".json", ".csv"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
