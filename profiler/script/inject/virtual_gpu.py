"""What a virtual GPU was asked for and does not have."""

from __future__ import annotations

import ctypes
import os

_CORE = "libvirtualgpu.so"


def unwritten_functions() -> dict[str, int]:
    """Return the functions of CUDA's libraries that were called here and are not written, and how often."""
    try:
        core = ctypes.CDLL(_CORE, mode=os.RTLD_NOLOAD)
    except OSError:  # a real GPU
        return {}
    name, calls = ctypes.c_char_p(), ctypes.c_long()
    core.virtual_gpu_unwritten.restype = ctypes.c_bool
    found: dict[str, int] = {}
    while core.virtual_gpu_unwritten(len(found), ctypes.byref(name), ctypes.byref(calls)):
        found[(name.value or b"").decode()] = calls.value
    return found
