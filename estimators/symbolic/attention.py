"""Scaled dot product attention as CUDA would run it: which kernel, and what is copied before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from estimators.symbolic.device import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

_aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One call of scaled dot product attention, as far as it decides the kernel."""

    dtype: torch.dtype
    head_dim: int
    value_head_dim: int
    has_mask: bool
    is_grouped: bool
    requires_grad: bool
    dropout: float


def choose_kernel(call: Attention, capability: tuple[int, int]) -> str:
    """Return `flash`, `efficient` or `math`: the first in torch's order that takes the call.

    The order and the constraints are those of `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`; what
    the user switched off with `torch.nn.attention.sdpa_kernel` is not considered.
    """
    backends = torch.backends.cuda
    if backends.flash_sdp_enabled() and _flash_takes(call, capability):
        return "flash"
    if backends.mem_efficient_sdp_enabled() and _efficient_takes(call, capability):
        return "efficient"
    if backends.math_sdp_enabled():
        return "math"
    raise RuntimeError("No available kernel. Aborting execution.")  # the words of torch


def _flash_takes(call: Attention, capability: tuple[int, int]) -> bool:
    if call.dtype not in (torch.float16, torch.bfloat16) or capability < (8, 0) or call.has_mask:
        return False
    return call.head_dim == call.value_head_dim and call.head_dim <= 256


def _efficient_takes(call: Attention, capability: tuple[int, int]) -> bool:
    if call.is_grouped:
        return False
    if call.dtype is torch.bfloat16 and capability < (8, 0):
        return False
    if call.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return False
    alignment = 4 if call.dtype is torch.float32 else 8
    return call.head_dim % alignment == 0 and call.value_head_dim % alignment == 0


class CudaAttention(TorchFunctionMode):
    """Runs `F.scaled_dot_product_attention` on the symbolic device with the kernel CUDA would take.

    Args:
        capability: Compute capability of the GPU.
        chosen: Is told the name of each kernel taken.
    """

    def __init__(self, capability: tuple[int, int], chosen: Callable[[str], None]) -> None:
        super().__init__()
        self._capability = capability
        self._chosen = chosen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and args[0].device.type == NAME:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        requires_grad = torch.is_grad_enabled() and (
            query.requires_grad or key.requires_grad or value.requires_grad
        )
        call = Attention(
            dtype=query.dtype,
            head_dim=query.shape[-1],
            value_head_dim=value.shape[-1],
            has_mask=attn_mask is not None,
            is_grouped=enable_gqa and query.shape[1] != key.shape[1],
            requires_grad=requires_grad,
            dropout=dropout_p,
        )
        kernel = choose_kernel(call, self._capability)
        self._chosen(kernel)
        if attn_mask is not None and attn_mask.dtype is torch.bool:
            attn_mask = _additive(attn_mask, query.dtype)
        if kernel == "flash":
            return _flash(query, key, value, dropout_p, is_causal, scale)
        if kernel == "efficient":
            if attn_mask is not None:
                attn_mask = _aligned(attn_mask, query, key)
            result = _aten._scaled_dot_product_efficient_attention(
                query, key, value, attn_mask, requires_grad, dropout_p, is_causal, scale=scale
            )
            return result[0]  # type: ignore[no-any-return]
        result = _aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
        )
        return result[0]  # type: ignore[no-any-return]


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turn a boolean mask into one that is added (attention.cpp, convert_boolean_attn_mask)."""
    hidden = torch.full((), float("-inf"), dtype=dtype, device=mask.device)
    return torch.where(mask, 0.0, hidden)


def _aligned(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Give the mask the alignment that the memory-efficient kernel wants (attention.cpp, preprocess_mask)."""
    alignment = 16
    width = mask.shape[-1]
    shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    if width % alignment:
        padded = F.pad(mask, (0, alignment - width % alignment))
        mask = padded[..., :width]
    return mask.expand(shape)


def _flash(query: Any, key: Any, value: Any, dropout: float, is_causal: bool, scale: float | None) -> Any:
    width = query.shape[-1]
    if width % 8:  # attention.cpp, pad_last_dim<8>
        scale = width**-0.5 if scale is None else scale
        query, key, value = (F.pad(tensor, (0, 8 - width % 8)) for tensor in (query, key, value))
    result = _aten._scaled_dot_product_flash_attention(query, key, value, dropout, is_causal, False, scale=scale)
    return result[0][..., :width]
