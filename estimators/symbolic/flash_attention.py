"""The package flash-attn, which need not be installed: what its kernels allocate, forward and backward.

From csrc/flash_attn/flash_api.cpp of flash-attn 2.8: `mha_fwd`, `mha_bwd` and their forms for packed rows.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import transformers
from transformers import modeling_flash_attention_utils as flash_utils

from estimators.symbolic.internals import HALF, flash_width, round_up
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.target import Target


@contextlib.contextmanager
def flash_attention(target: Target, chosen: Callable[[str], None]) -> Iterator[None]:
    """Let transformers find the package on a GPU.

    Args:
        target: The GPU.
        chosen: Is told the name of the kernel when it runs.
    """

    def checked(attend: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(attend)  # transformers looks at the arguments it takes
        def run(q: torch.Tensor, *args: Any, **settings: Any) -> Any:
            if target.capability < (8, 0):
                raise NotPossibleError("flash-attention-2 runs on GPUs of compute capability 8.0 or newer")
            if q.dtype not in HALF:
                raise NotPossibleError("flash-attention-2 computes in fp16 or bf16 only")
            chosen("flash-attention-2")
            return attend(q, *args, **settings)

        return run

    def functions(*args: Any, **settings: Any) -> tuple[Any, ...]:
        attend = (checked(_flash_attn_func), checked(_flash_attn_varlen_func))
        return *attend, None, flash_utils._pad_input, flash_utils._unpad_input

    with (
        mock.patch.object(transformers.PreTrainedModel, "_flash_attn_import_error", _found),
        mock.patch.object(flash_utils, "_lazy_imports", functions),
        mock.patch.object(flash_utils, "_loaded_implementation", None),
    ):
        yield


def _found(model: object, **settings: object) -> None:
    """Say nothing: the package is there."""


def _flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,
) -> Any:
    """Attend within rows; shapes (batch, length, heads, width)."""
    batch, length, heads, _ = q.shape
    rows = round_up(length, 128)
    return _Attend.apply(q, k, v, (batch, heads, length), (batch, heads, rows), (batch, rows))


def _flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,
) -> Any:
    """Attend within sequences that follow each other in one row; shapes (tokens, heads, width)."""
    tokens, heads, _ = q.shape
    padded = tokens + 128 * (cu_seqlens_q.shape[0] - 1)
    return _Attend.apply(q, k, v, (heads, tokens), (heads, padded), (padded,))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, sums: Any, row_sums: Any, accumulator: Any) -> Any:
        width = q.shape[-1]
        if width % 8:
            q, k, v = (torch.nn.functional.pad(tensor, (0, 8 - width % 8)) for tensor in (q, k, v))
        output = torch.empty_like(q)
        log_sum_exp = torch.empty(sums, dtype=torch.float32, device=q.device)
        random_state = torch.empty(2, dtype=torch.int64, device=q.device)
        ctx.save_for_backward(q, k, v, output, log_sum_exp, random_state)
        ctx.width, ctx.row_sums, ctx.accumulator = width, row_sums, accumulator
        return output[..., :width]

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        q, k, v, *_ = ctx.saved_tensors
        grad.contiguous()
        gradients = [torch.empty_like(tensor) for tensor in (q, k, v)]
        heads, width = q.shape[-2:]
        shape = (*ctx.accumulator, heads, flash_width(width))
        held = [
            torch.empty(ctx.row_sums, dtype=torch.float32, device=q.device),
            torch.empty(shape, dtype=torch.float32, device=q.device),
        ]
        if k.shape[-2] != heads:
            held += [torch.empty((*k.shape[:-2], heads, width), dtype=q.dtype, device=q.device) for _ in "kv"]
        return (*(gradient[..., : ctx.width] for gradient in gradients), None, None, None)
