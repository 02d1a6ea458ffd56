"""Reads the weights of a hollow checkpoint without touching memory for them.

A weight that is zero needs no page of a file, and none of a converted copy: transformers' `from_pretrained`
with another type than the file's would fill the host's memory with zeros. Whatever writes to such a weight
gets real memory for what it writes.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
from typing import Any

_MARKER = "sizeup-hollow.json"
_LEAST_MAPPED_BYTES = 2**20  # below that, a mapping of its own costs more than the zeros


def guard_reading(module: Any) -> None:
    """Act on `transformers.modeling_utils`."""
    real = module.safe_open

    @functools.wraps(real)
    def safe_open(filename: Any, *arguments: Any, **named: Any) -> Any:
        opened = real(filename, *arguments, **named)
        marker = os.path.join(os.path.dirname(os.fspath(filename)), _MARKER)
        return HollowFile(opened) if os.path.isfile(marker) else opened

    module.safe_open = safe_open


def guard_conversion(module: Any) -> None:
    """Act on `transformers.core_model_loading`."""
    real = module._materialize_copy

    @functools.wraps(real)
    def materialize(tensor: Any, device: Any = None, dtype: Any = None) -> Any:
        if isinstance(tensor, HollowSlice):
            return tensor.zeros(device=device, dtype=dtype)
        return real(tensor, device, dtype)

    module._materialize_copy = materialize


class HollowFile:
    """An open file of safetensors, but for the weights."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def __enter__(self) -> HollowFile:
        self._opened.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)

    def get_slice(self, name: str) -> HollowSlice:
        """Return a weight, not read yet."""
        return HollowSlice(self._opened.get_slice(name))

    def get_tensor(self, name: str) -> Any:
        """Return a weight."""
        return self.get_slice(name)[...]


class HollowSlice:
    """A weight of zeros in a file of safetensors."""

    def __init__(self, stored: Any) -> None:
        self._stored = stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stored, name)

    def __getitem__(self, index: Any) -> Any:
        return self.zeros()[index]

    def zeros(self, *, device: Any = None, dtype: Any = None) -> Any:
        """Return the weight.

        Args:
            device: A device of torch; the CPU by default.
            dtype: A type of torch; the file's by default.
        """
        import torch
        from safetensors.torch import _getdtype

        shape = self._stored.get_shape()
        dtype = dtype or _getdtype(self._stored.get_dtype())
        if device is not None and torch.device(device).type != "cpu":
            return torch.zeros(shape, device=device, dtype=dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < _LEAST_MAPPED_BYTES:
            return torch.zeros(shape, device="cpu", dtype=dtype)
        # Pages of an anonymous mapping are zero, and take memory only once they are written to (mmap(2)).
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return torch.frombuffer(pages, dtype=dtype).view(shape)
