"""Softmax of half-precision inputs into fp32, which CUDA computes without a copy of its input in fp32."""

from __future__ import annotations

import functools
from typing import Any

import torch

_aten = torch.ops.aten


@functools.cache
def register() -> torch.library.Library:
    """Register the fused form with torch, once; the library returned keeps it registered.

    `aten/src/ATen/native/SoftMax.cpp` (torch 2.13): fp16 on CUDA with dtype fp32 is one kernel with
    `half_to_float`; every other type is cast first.
    """
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for name in ("softmax", "log_softmax"):
        packet, fused = getattr(_aten, name), getattr(_aten, f"_{name}")
        rule = functools.partial(_softmax, fused.default)
        library.impl(packet.int, rule, "AutogradPrivateUse1")  # type: ignore[no-untyped-call]
    return library


def _softmax(fused: Any, inputs: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    if inputs.dtype is torch.float16 and dtype is torch.float32:
        return fused(inputs, dim, True)  # type: ignore[no-any-return]
    return fused(inputs if dtype is None else inputs.to(dtype), dim, False)  # type: ignore[no-any-return]
