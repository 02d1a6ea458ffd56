"""The core of a virtual GPU, where a process has it: what was called of CUDA's libraries and is not written.

The module is also loaded by path into processes of users, so it imports nothing of ours by name.
"""

from __future__ import annotations

import ctypes
import os

CORE = "libvirtualgpu.so"
"""The library with every function of the stand-ins."""


def loaded_core() -> ctypes.CDLL | None:
    """Return the core where it is loaded already; never loads it."""
    try:
        return ctypes.CDLL(CORE, mode=os.RTLD_NOLOAD)
    except OSError:
        return None


def unwritten_functions() -> dict[str, int]:
    """Return the functions of CUDA's libraries that were called here and are not written, and how often."""
    if (core := loaded_core()) is None:
        return {}
    name, calls = ctypes.c_char_p(), ctypes.c_long()
    core.virtual_gpu_unwritten.restype = ctypes.c_bool
    found: dict[str, int] = {}
    while core.virtual_gpu_unwritten(len(found), ctypes.byref(name), ctypes.byref(calls)):
        found[(name.value or b"").decode()] = calls.value
    return found


def notes() -> tuple[str, ...]:
    """Return the sentence that names these functions; nothing if there are none."""
    if not (unwritten := unwritten_functions()):
        return ()
    calls = ", ".join(f"{name} ({count})" for name, count in unwritten.items())
    return (f"a virtual GPU does not have what was called: {calls}",)
