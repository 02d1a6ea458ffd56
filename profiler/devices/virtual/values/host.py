"""Device memory of a virtual GPU as tensors of the CPU: it is the host's, at the same address."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import torch

from . import notes

INTEGERS = frozenset(
    {
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    }
)

# Memory that is written is taken of the host. A mask of every query and key of a batch has to be within the
# limit; 8-bit integers are mostly quantised weights, states of optimizers and pixels, which decide no shape.
_MOST_BYTES = 256 * 2**20
_MOST_BYTES_OF_8_BITS = 4 * 2**20
_EIGHT_BITS = (torch.uint8, torch.int8)
_LARGE_CLEAR = 2**20  # from here on, giving pages back is quicker than writing them

_CPU = torch.device("cpu")
_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_generators: list[torch.Generator] = []


def is_large(tensor: torch.Tensor) -> bool:
    """Whether the integers of a tensor are not kept: its whole storage counts, which views share."""
    most = _MOST_BYTES_OF_8_BITS if tensor.dtype in _EIGHT_BITS else _MOST_BYTES
    return tensor.untyped_storage().nbytes() > most


def is_large_itself(tensor: torch.Tensor) -> bool:
    """Whether these integers alone are more than are kept, not only with the rest of their storage."""
    return tensor.dtype in INTEGERS and is_large(tensor) and tensor.numel() > _MOST_BYTES


def view(tensor: torch.Tensor) -> torch.Tensor:
    """Return integers of the virtual GPU as a tensor of the CPU over the same memory.

    It must not outlive the tensor.
    """
    sizes, strides = tensor.shape, tensor.stride()
    if tensor.numel() == 0:
        return torch.empty_strided(sizes, strides, dtype=tensor.dtype, device=_CPU)
    span = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + 1
    memory = (ctypes.c_char * (span * tensor.element_size())).from_address(tensor.data_ptr())
    return torch.frombuffer(memory, dtype=tensor.dtype).as_strided(sizes, strides)


def stand_in(value: Any, *, is_written: bool = False) -> Any:
    """Return what the CPU's operator gets in the place of an argument of the GPU's.

    Args:
        value: The argument.
        is_written: Whether the operator writes it. Nothing is kept of what is written to floating-point
            data; all of it reads as 0.
    """
    if isinstance(value, torch.Tensor):
        if value.device.type == "cpu":
            return value
        if value.dtype in INTEGERS and not is_large(value):
            return view(value)
        dtype = value.dtype if value.dtype in INTEGERS or value.is_complex() else torch.float32
        if is_written:
            return torch.empty(value.shape, dtype=dtype, device=_CPU)
        return torch.zeros((), dtype=dtype, device=_CPU).expand(value.shape)
    if isinstance(value, list | tuple):
        return [stand_in(item, is_written=is_written) for item in value]
    if isinstance(value, torch.device):
        return _CPU
    return value


def generator() -> torch.Generator:
    """Return a generator of our own: the program's draws on the CPU must stay as they are."""
    if not _generators:
        _generators.append(torch.Generator(device=_CPU).manual_seed(0))
    return _generators[0]


def write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Write integers into a tensor of the virtual GPU."""
    if not is_large(tensor):
        view(tensor).copy_(values)


def clear(tensor: torch.Tensor) -> None:
    """Make integers of the virtual GPU zeros; of a large tensor this costs nothing."""
    size = tensor.numel() * tensor.element_size()
    if size < _LARGE_CLEAR or not tensor.is_contiguous():
        if not is_large(tensor):
            view(tensor).zero_()
        return
    start = tensor.data_ptr()
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if _libc.madvise(first, last - first, mmap.MADV_DONTNEED) != 0:
        first = last = start  # not possible for this mapping: all of it is written
    ctypes.memset(start, 0, first - start)
    ctypes.memset(last, 0, start + size - last)


def note_large(outputs: list[torch.Tensor], inputs: list[torch.Tensor]) -> None:
    """Note it where smaller integers were made of those of a large tensor."""
    if any(tensor.dtype in INTEGERS and is_large(tensor) for tensor in inputs) and not all(
        is_large(output) for output in outputs
    ):
        notes.assume(notes.LARGE)
