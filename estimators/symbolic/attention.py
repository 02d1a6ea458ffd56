"""Scaled dot product attention as CUDA would run it: which kernel, and what is copied before it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it

from estimators.symbolic.internals import HALF
from estimators.target import CPU
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.target import Target

_aten = torch.ops.aten
_ALIGNMENT = 8


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
    """Return `cudnn`, `flash`, `efficient` or `math`: the first in torch's order that takes the call.

    The CPU has `flash-cpu` and `math`.

    The order and the constraints are those of `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`
    (torch 2.14); kernels switched off with `torch.nn.attention.sdpa_kernel` are passed over.

    Raises:
        NotPossibleError: If none that is switched on takes it.
    """
    if capability == CPU:  # sdp_utils_cpp.cpp, use_flash_attention_cpp
        takes_cpu = call.head_dim == call.value_head_dim and not call.dropout
        return "flash-cpu" if _is_flash_enabled() and takes_cpu else "math"
    for name, is_enabled, takes in _KERNELS:
        if is_enabled() and takes(call, capability):
            return name
    raise NotPossibleError(
        "none of the attention kernels that the spec allows takes this step (flash takes no mask, and needs "
        "16-bit types and compute capability 8.0; efficient takes bf16 from 8.0 on)"
    )


def _cudnn_takes(call: Attention, capability: tuple[int, int]) -> bool:
    # Preferred on Hopper and Blackwell only (check_prefer_cudnn_attention), and behind math elsewhere.
    if capability[0] not in (9, 10) or call.dtype not in HALF or call.dropout % (1 / 16):
        return False
    widths = (call.head_dim, call.value_head_dim)
    return all(width % 8 == 0 for width in widths) and (max(widths) <= 128 or widths in _WIDE_CUDNN)


def _flash_takes(call: Attention, capability: tuple[int, int]) -> bool:
    width = call.head_dim
    if call.dtype not in HALF or capability < (8, 0) or call.has_mask or width != call.value_head_dim:
        return False
    if call.requires_grad and ((8, 6) <= capability <= (8, 9) or capability[0] == 12):
        return width <= 192 or (224 < width <= 256 and not call.dropout)
    return width <= 256


def _efficient_takes(call: Attention, capability: tuple[int, int]) -> bool:
    if call.is_grouped and torch.__version__ < "2.14":
        return False
    if call.dtype is torch.bfloat16 and capability < (8, 0):
        return False
    if call.dtype not in (*HALF, torch.float32):
        return False
    alignment = 8 if call.dtype in HALF else 4 if capability >= (8, 0) else 1
    return call.head_dim % alignment == 0 and call.value_head_dim % alignment == 0


_WIDE_CUDNN = ((192, 128), (256, 256))
_backends = torch.backends.cuda
_is_flash_enabled: Callable[[], bool] = _backends.flash_sdp_enabled
_KERNELS: tuple[tuple[str, Callable[[], bool], Callable[[Attention, tuple[int, int]], bool]], ...] = (
    ("cudnn", _backends.cudnn_sdp_enabled, _cudnn_takes),
    ("flash", _is_flash_enabled, _flash_takes),
    ("efficient", _backends.mem_efficient_sdp_enabled, _efficient_takes),
    ("math", _backends.math_sdp_enabled, lambda _call, _capability: True),
)


class CudaAttention:
    """Stands in for `F.scaled_dot_product_attention`, and runs the kernel CUDA would take.

    Args:
        target: The GPU.
        chosen: Is told the name of each kernel taken.
    """

    def __init__(self, target: Target, chosen: Callable[[str], None]) -> None:
        self._capability = target.capability
        self._chosen = chosen

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put it in the place of torch's function; a mode would not reach what backward recomputes."""
        with mock.patch.object(F, "scaled_dot_product_attention", self):
            yield

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        """Return the attention's output; the arguments are those of torch's function."""
        settings = (dropout_p, is_causal, scale, enable_gqa)
        kind = query.device.type
        if not torch.is_autocast_enabled(kind):
            return self._attend(query, key, value, attn_mask, *settings)
        dtype = torch.get_autocast_dtype(kind)  # attention is one of the operators it casts
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(dtype)
        with torch.autocast(kind, enabled=False):  # autocast_mode.h: what it calls itself is not cast
            return self._attend(query, key, value, attn_mask, *settings)

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None,
        dropout_p: float,
        is_causal: bool,
        scale: float | None,
        enable_gqa: bool,
    ) -> Any:
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
        if kernel == "flash-cpu":
            fused = _aten._scaled_dot_product_flash_attention_for_cpu
            return fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
        if kernel == "flash":
            return _flash(query, key, value, dropout_p, is_causal, scale)
        if kernel == "math":
            return _math(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
        if kernel == "efficient" and attn_mask is not None:
            attn_mask = _aligned(attn_mask)
        if attn_mask is not None:
            attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
        fused = getattr(_aten, f"_scaled_dot_product_{kernel}_attention")
        result = fused(query, key, value, attn_mask, requires_grad, dropout_p, is_causal, scale=scale)
        return result[0]


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turn a boolean mask into one that is added (attention.cpp, convert_boolean_attn_mask)."""
    hidden = torch.full((), float("-inf"), dtype=dtype, device=mask.device)
    return torch.where(mask, 0.0, hidden)


def _aligned(mask: torch.Tensor) -> torch.Tensor:
    """Pad the mask as the memory-efficient kernel wants it (attention.cpp, preprocess_mask)."""
    if mask.stride(-1) == 1 and all(stride % _ALIGNMENT == 0 for stride in mask.stride()[:-1]):
        return mask
    width = mask.shape[-1]
    return F.pad(mask, (0, _ALIGNMENT - width % _ALIGNMENT))[..., :width]


def _flash(query: Any, key: Any, value: Any, dropout: float, is_causal: bool, scale: float | None) -> Any:
    width = query.shape[-1]
    if width % _ALIGNMENT:  # attention.cpp, pad_last_dim
        scale = width**-0.5 if scale is None else scale
        missing = _ALIGNMENT - width % _ALIGNMENT
        query, key, value = (F.pad(tensor, (0, missing)) for tensor in (query, key, value))
    fused = _aten._scaled_dot_product_flash_attention
    return fused(query, key, value, dropout, is_causal, False, scale=scale)[0][..., :width]


def _math(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    dropout: float,
    is_causal: bool,
    scale: float | None,
    is_grouped: bool,
) -> Any:
    """Do what `_scaled_dot_product_attention_math` does (attention.cpp), which adds out of place on fakes."""
    dtype = query.dtype
    if dtype in HALF:
        query, key, value = query.float(), key.float(), value.float()
    cast = query, key  # what C++ names lives until the end
    factor = (query.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
    query = query * factor
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        mask = _additive(torch.ones(shape, dtype=torch.bool, device=query.device).tril(), query.dtype)
    if is_grouped:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = torch.matmul(query, key.transpose(-2, -1) * factor)
    if mask is not None:
        scores.add_(mask)
    probabilities = _aten._safe_softmax(scores, -1)
    del scores
    probabilities = F.dropout(probabilities, dropout)
    returned = probabilities.to(dtype)  # beside the output, which GCC makes after it
    output = torch.matmul(probabilities, value).to(dtype)
    del cast, returned
    return output
