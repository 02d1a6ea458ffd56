"""Safetensors files with a true header and a hole where the data would be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The names of safetensors' format (https://github.com/huggingface/safetensors#format).
_DTYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_ALIGNMENT_BYTES = 8


def write_sparse_file(
    tensors: Mapping[str, torch.Tensor], filename: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write what `safetensors.torch.save_file` would, but for the data: reading it gives zeros.

    Args:
        tensors: By name; only their shapes and types are looked at, so they may be on the meta device.
        filename: A file that is not there yet.
        metadata: As for `save_file`.

    Raises:
        OSError: If the file cannot be written, or is there.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    # The format wants no hole between two tensors; the widest types first keep all of them aligned.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end],
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    with open(filename, "xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
