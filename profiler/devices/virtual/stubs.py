"""Functions of CUDA's libraries that nobody wrote: each returns "not supported" and is counted by name.

They are weak symbols, so that a function written in `c/` takes the place of its stub.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from pathlib import Path

    from profiler.devices.virtual.torch_build import TorchBuild


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library of CUDA that the virtual GPU takes the place of."""

    name: str
    """Its name without `.so` and version."""
    prefixes: tuple[str, ...]
    """How the names of its functions begin."""
    not_supported: int
    """What its functions return for "not supported"; the number in its header."""


# The status that says "not supported" is the library's own: cudaErrorNotSupported and its like.
# cuRAND and NCCL have none: CURAND_STATUS_INTERNAL_ERROR and ncclInvalidUsage.
LIBRARIES = (
    Library(name="libcudart", prefixes=("cuda", "__cuda"), not_supported=801),
    Library(name="libcublas", prefixes=("cublas",), not_supported=15),
    Library(name="libcublasLt", prefixes=("cublasLt",), not_supported=15),
    Library(name="libcufft", prefixes=("cufft",), not_supported=16),
    Library(name="libcusolver", prefixes=("cusolver",), not_supported=9),
    Library(name="libcusparse", prefixes=("cusparse",), not_supported=10),
    Library(name="libcusparseLt", prefixes=("cusparseLt",), not_supported=10),
    Library(name="libcurand", prefixes=("curand",), not_supported=999),
    Library(name="libcudnn", prefixes=("cudnn",), not_supported=3000),
    Library(name="libnccl", prefixes=("nccl", "pnccl"), not_supported=5),
)
_DRIVER_NOT_SUPPORTED = 801  # CUDA_ERROR_NOT_SUPPORTED
_SHT_DYNSYM, _STT_FUNC = 11, 2


def stub_source(build: TorchBuild) -> str:
    """Return C code with a stub of every function that the installed libraries and the driver have.

    Raises:
        NotPossibleError: If a library is not there or cannot be read.
    """
    codes = dict.fromkeys(driver_functions(build), _DRIVER_NOT_SUPPORTED)
    for library in LIBRARIES:
        for name in exported_functions(build.library(library.name)):
            if name.startswith(library.prefixes):
                codes.setdefault(name, library.not_supported)
    lines = ["int vg_unwritten(const char *name, int code);"]
    for index, (name, code) in enumerate(sorted(codes.items())):
        # Under another C name, so that no declaration is needed.
        lines.append(f'__attribute__((weak)) int vg_stub_{index}(void) __asm__("{name}");')
        lines.append(f'int vg_stub_{index}(void) {{ return vg_unwritten("{name}", {code}); }}')
    return "\n".join(lines) + "\n"


def driver_functions(build: TorchBuild) -> set[str]:
    """Return the driver's functions as cuda.h declares them, later versions under their own names."""
    folder = next(folder for folder in build.include_folders if (folder / "cuda.h").exists())
    text = (folder / "cuda.h").read_text(encoding="utf-8", errors="replace")
    declared = set(re.findall(r"\bCUresult\s+CUDAAPI\s+(cu[A-Z]\w*)\s*\(", text))
    versions = set(re.findall(r"#define\s+cu[A-Z]\w*\s+(cu[A-Z]\w*_v\d+)\b", text))
    return {name for name in declared | versions if not name.endswith(("_ptds", "_ptsz"))}


def exported_functions(path: Path) -> list[str]:
    """Return the names of the functions that a 64-bit little-endian ELF library exports (elf(5)).

    Raises:
        NotPossibleError: If the file is no such library.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:6] != b"\x7fELF\x02\x01":
            raise NotPossibleError(f"{path.name} of torch's wheels is no 64-bit library")
        (table,) = struct.unpack_from("<Q", data, 40)
        entry_bytes, entries = struct.unpack_from("<HH", data, 58)
        sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * entry_bytes) for i in range(entries)]
        names = []
        for _, kind, _, _, offset, size, strings, _, _, symbol_bytes in sections:
            if kind != _SHT_DYNSYM:
                continue
            text_start = sections[strings][4]
            for at in range(offset, offset + size, symbol_bytes):
                name, info, _, section, _, _ = struct.unpack_from("<IBBHQQ", data, at)
                if section != 0 and info & 0xF == _STT_FUNC:  # section 0: defined elsewhere
                    start = text_start + name
                    names.append(data[start : data.find(b"\0", start)].decode())
    return names
