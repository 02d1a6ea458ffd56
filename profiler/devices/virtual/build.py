"""Compiles the stand-ins for CUDA's libraries, once for each build of torch."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from profiler.cache_folder import virtual_gpu_folder
from profiler.devices.virtual.core import CORE
from profiler.devices.virtual.stubs import LIBRARIES, stub_source
from profiler.devices.virtual.torch_build import TorchBuild, architectures_of_torch, torch_build
from profiler.errors import NotPossibleError, first_line

_SOURCES = Path(__file__).with_name("c")
_ARCHITECTURES = "architectures.txt"


@dataclass(frozen=True, kw_only=True)
class VirtualLibraries:
    """The compiled libraries."""

    folder: Path
    names: tuple[str, ...]
    """The core, which has every function, and an empty library under each name that it stands in for."""
    architectures: tuple[str, ...]
    """What the torch that they were compiled for has code for, such as `sm_86`."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which a process gets them in the place of CUDA's own.

        torch finds its CUDA libraries by a path of its own, but does not look for one that is loaded already
        under the same name. The folder is searched for what is loaded by name later, and by Triton's linker.
        """
        preloaded = [*self.names, *os.environ.get("LD_PRELOAD", "").split()]
        searched = [str(self.folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_PRELOAD": " ".join(preloaded), "LD_LIBRARY_PATH": ":".join(searched)}


@functools.cache
def virtual_libraries() -> VirtualLibraries:
    """Return the libraries for the installed torch; compiles them where the cache has none yet.

    Two processes may do so at once: the first to finish is the one whose files are kept.

    Raises:
        NotPossibleError: If they cannot be made here; a sentence says why.
    """
    build = torch_build()
    place = virtual_gpu_folder()
    folder = place / f"torch-{build.torch_version}-cuda-{build.cuda_version}-{_source_hash()}"
    if set(str(folder)) & set(":;"):
        raise NotPossibleError(
            f"the cache folder {place} has a colon in its name, which the loader cannot take"
        )
    if not folder.is_dir():
        try:
            place.mkdir(parents=True, exist_ok=True)
            _make(build, folder)
        except OSError as error:
            raise NotPossibleError(f"a virtual GPU cannot be compiled to {place}: {error.strerror}") from None
    return VirtualLibraries(
        folder=folder,
        names=(CORE, *_stand_in_names(build)),
        architectures=tuple((folder / _ARCHITECTURES).read_text(encoding="utf-8").split()),
    )


def libraries_folder() -> Path:
    """Return where the libraries for the installed torch are, or would be.

    Raises:
        NotPossibleError: If there can be none for it; a sentence says why.
    """
    build = torch_build()
    place = virtual_gpu_folder().absolute()
    if set(str(place)) & set(":;"):
        raise NotPossibleError(
            f"the cache folder {place} has a colon in its name, which the loader cannot take"
        )
    return place / f"torch-{build.torch_version}-cuda-{build.cuda_version}-{_source_hash()}"


def compiler() -> list[str]:
    """Return the command of the C compiler: `CC`, else `cc`.

    Raises:
        NotPossibleError: If it is not there.
    """
    command = os.environ.get("CC", "cc").split()
    if not command or shutil.which(command[0]) is None:
        name = command[0] if command else "CC"
        raise NotPossibleError(
            f"a virtual GPU needs a C compiler, and {name} is not there: install one, or set CC"
        )
    return command


def _source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted([*_SOURCES.rglob("*"), *_SOURCES.parent.glob("*.py")]):
        if path.is_file():
            digest.update(path.relative_to(_SOURCES.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _stand_in_names(build: TorchBuild) -> list[str]:
    """Return the names under which programs look for the libraries, such as `libcudart.so.13`."""
    return [*(build.library(library.name).name for library in LIBRARIES), "libcuda.so.1", "libnvidia-ml.so.1"]


def _make(build: TorchBuild, folder: Path) -> None:
    command = compiler()
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        stubs = made / "stubs.c"
        stubs.write_text(stub_source(build), encoding="utf-8")
        includes = [f"-I{path}" for path in (_SOURCES / "include", *build.include_folders)]
        sources = [str(path) for path in sorted(_SOURCES.glob("*.c"))]
        _compile(
            [*command, "-std=gnu11", "-O1", "-shared", "-fPIC", *includes, "-o", str(made / CORE),
             f"-Wl,-soname,{CORE}", *sources, str(stubs), "-lpthread", "-ldl"]
        )  # fmt: skip
        stubs.unlink()
        for name in _stand_in_names(build):
            _compile(
                [*command, "-shared", "-fPIC", "-x", "c", os.devnull, "-x", "none", "-o", str(made / name),
                 f"-Wl,-soname,{name}", "-Wl,--no-as-needed", str(made / CORE), "-Wl,-rpath,$ORIGIN"]
            )  # fmt: skip
        architectures = architectures_of_torch()
        (made / _ARCHITECTURES).write_text(" ".join(architectures) + "\n", encoding="utf-8")
        made.chmod(0o755)  # mkdtemp keeps others out
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotPossibleError(f"{command[0]} cannot be run: {first_line(error)}") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "error" in line] or [
            f"exit code {done.returncode}"
        ]
        raise NotPossibleError(f"{command[0]} cannot compile a virtual GPU: {said[0].strip()}")
