"""Operators of bitsandbytes, taken apart into what their CUDA implementation does in Python.

Their fake implementations show the output only; in between, CUDA makes a 16-bit copy of a weight or an
integer product, which decide the peak (bitsandbytes 0.50, backends/cuda/ops.py and backends/default/ops.py).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from estimators.symbolic.internals import MOST_TOKENS_OF_FUSED_4BIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from estimators.target import Target


def substitute(func: Any, target: Target) -> Callable[..., Any] | None:
    """Return what to run in place of an operator, or None where it may run as it is."""
    if getattr(func, "namespace", None) != "bitsandbytes":
        return None
    made = _SUBSTITUTES.get(func.name().removeprefix("bitsandbytes::"))
    return None if made is None else functools.partial(made, target)


def _gemm_4bit(
    target: Target,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    shape: list[int],
    absmax: torch.Tensor,
    blocksize: int,
    quant_type: str,
    bias: torch.Tensor | None = None,
    absmax_8bit: torch.Tensor | None = None,
    absmax_code: torch.Tensor | None = None,
    absmax_offset: torch.Tensor | None = None,
) -> torch.Tensor:
    tokens = inputs.numel() // inputs.shape[-1]
    if _is_fused(target, inputs.dtype, tokens, shape[0], shape[1], blocksize):
        return torch.empty((*inputs.shape[:-1], shape[0]), dtype=inputs.dtype, device=inputs.device)
    if absmax_8bit is not None and absmax_offset is not None:
        absmax_dequantized = torch.empty_like(absmax_8bit, dtype=torch.float32)
        absmax = absmax_dequantized.add(absmax_offset)
    assert absmax is not None  # alive until the weight has been dequantised
    dequantized = torch.empty(shape, dtype=inputs.dtype, device=inputs.device)
    return torch.nn.functional.linear(inputs, dequantized, bias)


def _is_fused(
    target: Target, dtype: torch.dtype, tokens: int, rows: int, columns: int, blocksize: int
) -> bool:
    """Ask bitsandbytes whether it multiplies without making a 16-bit copy of the weight."""
    if tokens > MOST_TOKENS_OF_FUSED_4BIT or columns % blocksize or target.sm_count is None:
        return False
    try:
        from bitsandbytes.backends.cuda import ops
    except (ImportError, AttributeError):
        return False  # torch was built without CUDA, so the library cannot be asked
    properties = (target.sm_count, *target.capability)
    with mock.patch.object(ops, "_gpu_dispatch_props", return_value=properties):
        return bool(ops._gemm_4bit_use_custom_cuda(0, dtype, tokens, rows, columns))


def _int8_vectorwise_quant(
    target: Target, inputs: torch.Tensor, threshold: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    rows = torch.empty(inputs.shape, dtype=torch.int8, device=inputs.device)
    scales = torch.empty(inputs.shape[0], dtype=torch.float32, device=inputs.device)
    if threshold == 0.0:
        return rows, scales, None
    is_outlier = inputs.abs() >= threshold
    is_outlier.any()
    # Trained models have a few outlier columns; random weights have none, and neither has this.
    return rows, scales, torch.empty(0, dtype=torch.int64, device=inputs.device)


def _int8_mixed_scaled_mm(
    target: Target,
    inputs: torch.Tensor,
    rows: torch.Tensor,
    weight: torch.Tensor,
    row_scales: torch.Tensor,
    weight_scales: torch.Tensor,
    outlier_columns: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    outliers = torch.empty(0, dtype=inputs.dtype, device=inputs.device)
    output = _int8_scaled_mm(target, rows, weight, row_scales, weight_scales, bias, inputs.dtype)
    return output, outliers


def _int8_scaled_mm(
    target: Target,
    rows: torch.Tensor,
    weight: torch.Tensor,
    row_scales: torch.Tensor,
    weight_scales: torch.Tensor,
    bias: torch.Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    library = torch.ops.bitsandbytes
    product = library.int8_linear_matmul.default(rows, weight)
    output: torch.Tensor = library.int8_mm_dequant.default(
        product, row_scales, weight_scales, dtype=dtype or torch.float16, bias=bias
    )
    return output


def _int8_mm_dequant(
    target: Target,
    product: torch.Tensor,
    row_scales: torch.Tensor,
    weight_scales: torch.Tensor,
    dtype: torch.dtype | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    # The kernel writes 16-bit floats; another type is a copy of them.
    output = torch.empty(product.shape, dtype=torch.float16, device=product.device)
    if bias is not None and bias.dtype is not torch.float16:
        output = output.add_(bias)
    return output.to(dtype or torch.float16)


_SUBSTITUTES: dict[str, Callable[..., Any]] = {
    "gemm_4bit": _gemm_4bit,
    "int8_vectorwise_quant": _int8_vectorwise_quant,
    "int8_mixed_scaled_mm": _int8_mixed_scaled_mm,
    "int8_scaled_mm": _int8_scaled_mm,
    "int8_mm_dequant": _int8_mm_dequant,
}
