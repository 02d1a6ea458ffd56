"""Operators that ask the GPU how large their results are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

from . import host, notes
from .computation import Computation
from .kernels import original_kernel

if TYPE_CHECKING:
    from .kernels import Kernel


class _Expected(threading.local):
    """What the original kernel that runs in this thread is to be told when it asks for its count."""

    count: int | None = None


_expected = _Expected()


def number() -> Kernel:
    """Return the kernel of `_local_scalar_dense`, by which a program and ATen itself read one number."""
    call, integers = original_kernel("_local_scalar_dense"), host.INTEGERS

    def kernel(keyset: Any, tensor: Any) -> Any:
        value = call(keyset, tensor)
        if tensor.dtype not in integers:
            notes.assume(notes.READ)
        elif _expected.count is not None:
            return _expected.count
        elif host.is_large(tensor):
            notes.assume(notes.LARGE)
        else:
            return host.view(tensor).item()
        return value

    return kernel


def nonzero() -> Kernel:
    """Return the kernel of `nonzero`, which every boolean index goes through.

    The original finds nothing, and allocates what it needs to count; the result is allocated as it would have
    been (ATen/native/cuda/Nonzero.cu: dimensions by elements, transposed).
    """
    call, computation = original_kernel("nonzero"), Computation("nonzero", notes.TESTED)

    def kernel(keyset: Any, tensor: Any) -> Any:
        call(keyset, tensor)
        host.note_large([], computation.read((tensor,), {}))
        found = computation.result((tensor,), {})
        output = torch.empty(found.shape[::-1], dtype=found.dtype, device=tensor.device).t()
        host.write(output, found)
        return output

    return kernel


def unique(name: str) -> Kernel:
    """Return a kernel of the operators that find the distinct values of a tensor."""
    call, computation = original_kernel(name), Computation(name, notes.TESTED)

    def kernel(keyset: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        host.note_large([], computation.read((tensor,), {}))
        found = computation.result((tensor, *args), kwargs)
        _expected.count = found[0].numel()
        try:
            outputs = call(keyset, tensor, *args, **kwargs)
        finally:
            _expected.count = None
        return tuple(_filled(output, values) for output, values in zip(outputs, found, strict=True))

    return kernel


def _filled(output: torch.Tensor | None, values: torch.Tensor | None) -> torch.Tensor | None:
    if output is None or values is None:  # not asked for
        return output
    if output.shape != values.shape:  # counted by thrust, which nobody can tell
        output = output.new_empty(values.shape)
    if output.dtype in host.INTEGERS:
        host.write(output, values)
    return output
