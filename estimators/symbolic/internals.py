"""What CUDA's kernels allocate inside an operator, which fake tensors do not show.

Formulae are those of torch 2.14's sources and headers (aten/src/ATen/native), each named at its function.
Buffers of a few kilobytes, such as the semaphores of reductions, are left out. So is the global memory of
reductions over many rows (Reduce.cuh, `global_memory_size`: 64 MiB for the gradient of a norm's weight over
4,096 x 2,048): it depends on the number of multiprocessors, and comes when the logits have been freed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.target import Target

_aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)
_MOST_MULTIPROCESSORS = 200  # of any GPU so far
MOST_TOKENS_OF_FUSED_4BIT = 1536  # bitsandbytes 0.50, backends/cuda/ops.py
MATRIX_PRODUCTS = {
    _aten.mm.default,
    _aten.bmm.default,
    _aten.addmm.default,
    _aten.baddbmm.default,
    _aten._grouped_mm.default,
}


def cublas_workspace_bytes(target: Target) -> int:
    """Return the workspace of a cuBLAS handle (cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize)."""
    if 9 <= target.capability[0] <= 12:
        return 32 * 2**20
    return 4096 * 1024 * 2 + 16 * 1024 * 8


def on_device(func: Any, args: Any, outputs: Any) -> Any:
    """Return the outputs of an operator that are on the device, in the order of allocation.

    The random state of memory-efficient attention is there only without dropout; with it, the numbers are
    drawn on the host (attention.cu, _efficient_attention_forward; seen in torch 2.14's allocations).
    """
    if _allocates_last_first(func):
        return outputs[::-1]
    if func is not _aten._scaled_dot_product_efficient_attention.default:
        return outputs
    return outputs[:2] if len(args) > 5 and args[5] else (*outputs[2:], *outputs[:2])


@functools.cache
def _allocates_last_first(func: Any) -> bool:
    # The mask (Dropout.cu, dropout_cuda); the scales (bitsandbytes 0.50, backends/cuda/ops.py).
    return str(func) in ("aten.native_dropout.default", "bitsandbytes.quantize_4bit.default")


def depends_on_sm_count(func: Any, args: Any) -> bool:
    """Return whether the number of multiprocessors may decide what an operator allocates."""
    if func is _aten._scaled_dot_product_flash_attention.default:
        batch, heads, length, _ = args[0].shape
        return bool(batch * heads * -(-length // 64) < 0.8 * 2 * _MOST_MULTIPROCESSORS)
    is_4bit_product = getattr(func, "namespace", None) == "bitsandbytes" and "gemm_4bit" in func.name()
    return is_4bit_product and args[0].numel() // args[0].shape[-1] <= MOST_TOKENS_OF_FUSED_4BIT


def with_layout_of_cuda(func: Any, result: Any) -> Any:
    """Return the result of an operator, with strides as CUDA's kernel gives them where others differ.

    Of a singular value decomposition Vh is row-major (torch/_meta_registrations.py, _linalg_svd_meta), so
    that some of its rows are a view, which keeps all of it alive.
    """
    if func is _aten._linalg_svd.default:
        left, values, right = result
        return left, values, torch.empty(right.shape, dtype=right.dtype, device=right.device)
    return result


def buffers(target: Target, func: Any, args: Any, kwargs: Any) -> Iterator[tuple[int, ...]]:
    """Yield the bytes of the buffers that live only inside the operator, in the order of allocation.

    Those of one tuple live together, and those of the next after them.
    """
    if (formula := _BUFFERS.get(func)) is not None:
        yield from formula(target, *args, **kwargs)


def round_up(size: int, multiple: int) -> int:
    """Return the next multiple."""
    return -(-size // multiple) * multiple


def _softmax_backward(target: Target, grad: Any, output: Any, *rest: Any) -> Iterator[tuple[int, ...]]:
    yield (grad.nbytes,)  # SoftMax.cu: grad * output


def _safe_softmax(target: Target, inputs: Any, dim: int, *rest: Any) -> Iterator[tuple[int, ...]]:
    # transformers/attention.cpp, _safe_softmax: what is -inf, and which rows are nothing else.
    yield inputs.numel(), inputs.numel() // inputs.shape[dim]


def _embedding_backward(
    target: Target, grad: Any, indices: Any, rows: int, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    # EmbeddingBackwardKernel.cu: sorts beyond 3072 indices, and sums runs of 10 rows in fp32.
    count = indices.numel()
    if count <= 3072:
        return
    yield (8 * count * 3,)  # the sorted indices, their origin, and the range they are sorted with
    partial = count // 10 + min(count, rows)
    yield (partial * grad.shape[-1] * max(grad.element_size(), 4),)


def _foreach_norm(target: Target, tensors: Any, *rest: Any, **settings: Any) -> Iterator[tuple[int, ...]]:
    # ForeachReduceOp.cu: a partial result per chunk of 65,536 elements, for all tensors as for the largest.
    chunks = max(-(-tensor.numel() // 65536) for tensor in tensors)
    yield (4 * len(tensors) * chunks,)


def _flash_forward(
    target: Target, query: Any, key: Any, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    # flash_api.cpp, set_params_splitkv: few blocks are split over the keys, without dropout.
    dropout = rest[1] if len(rest) > 1 else settings.get("dropout_p", 0.0)
    batch, heads, length, width = query.shape
    if dropout or target.sm_count is None:
        return
    blocks = batch * heads * -(-length // 64)
    key_block = 256 if width <= 64 else 128 if width <= 128 else 64
    splits = _flash_splits(blocks, 2 * target.sm_count, -(-key.shape[2] // key_block))
    if splits > 1:
        rows = 4 * splits * batch * heads * length
        yield rows, rows * flash_width(width)


def _flash_splits(blocks: int, slots: int, key_blocks: int) -> int:
    """Return the number of splits with at least 85 % of the best occupancy (num_splits_heuristic)."""
    if blocks >= 0.8 * slots:
        return 1
    most = min(128, slots, key_blocks)
    occupancy: dict[int, float] = {}
    for splits in range(1, most + 1):
        if splits == 1 or -(-key_blocks // splits) != -(-key_blocks // (splits - 1)):
            waves = blocks * splits / slots
            occupancy[splits] = waves / -(-blocks * splits // slots)
    best = max(occupancy.values())
    return next(splits for splits, reached in occupancy.items() if reached >= 0.85 * best)


def flash_width(width: int) -> int:
    """Return the width of the fp32 accumulators of flash attention (head_size_rounded)."""
    rounded = round_up(width, 32)
    return rounded if rounded < 224 else 256


def _flash_backward(
    target: Target, grad: Any, query: Any, key: Any, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    # flash_api.cpp, mha_bwd: row sums, the gradient of the queries in fp32, and that of expanded keys.
    batch, heads, length, width = query.shape
    held = [
        4 * batch * heads * round_up(length, 128),
        4 * batch * round_up(length, 128) * heads * flash_width(width),
    ]
    if key.shape[1] != heads:
        held += [query.element_size() * batch * key.shape[2] * heads * width] * 2
    yield tuple(held)


def _efficient_forward(
    target: Target, query: Any, key: Any, value: Any, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    # mem_eff_attention/kernel_forward.h: beyond 128 the output is accumulated in fp32 in memory.
    batch, heads, length, _ = query.shape
    if query.dtype in HALF and max(query.shape[-1], value.shape[-1]) > 128:
        yield (4 * batch * heads * length * value.shape[-1],)


def _efficient_backward(
    target: Target, grad: Any, query: Any, key: Any, value: Any, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    batch, heads, length, width = query.shape
    keys, value_width = key.shape[2], value.shape[-1]
    delta = 4 * batch * heads * length
    if query.dtype not in HALF:
        yield (4 * batch * length * heads * value_width,)  # grad * out, whose row sums are delta
    yield delta, _efficient_workspace(target, query.dtype, batch * heads, length, keys, width, value_width)


def _efficient_workspace(
    target: Target, dtype: torch.dtype, heads: int, length: int, keys: int, width: int, value_width: int
) -> int:
    """Return the workspace in bytes (mem_eff_attention/kernel_backward.h, Params::workspace_size)."""
    rows, columns, in_registers = _efficient_tile(target.capability, dtype, max(width, value_width))
    accumulates_keys = dtype in HALF and not in_registers
    query_floats = -(-length // rows) * -(-width // columns) * (rows * columns + 4)
    key_floats = 0
    if accumulates_keys:
        splits = -(-keys // columns)
        if heads >= 256 and keys <= 2 * columns:
            splits = 1
        splits = max(min(splits, 200 // heads), 1)
        key_floats = splits * columns * (round_up(width, rows) + round_up(value_width, rows))
    return 4 * heads * round_up(query_floats + key_floats, 4)


def _efficient_tile(capability: tuple[int, int], dtype: torch.dtype, width: int) -> tuple[int, int, bool]:
    """Return rows, columns and whether the gradients of keys stay in registers (kernels/cutlassB.h)."""
    has_large_memory = capability[0] in (9, 10) or capability == (8, 0)
    if dtype not in HALF:
        return (64, 64, False) if width <= 64 or capability < (8, 0) else (128, 64, False)
    if width <= 64:
        return 64, 64, True
    if width > 128:
        return 128, 64, False
    if has_large_memory:
        return 128, 128, True
    if capability < (8, 0) or (width <= 96 and capability < (12, 0)):
        return 128, 64, True
    return 64, 64, False


def _cudnn_backward(
    target: Target, grad: Any, query: Any, *rest: Any, **settings: Any
) -> Iterator[tuple[int, ...]]:
    # cuDNN does not say; its frontend documents an fp32 gradient of the queries and their row sums.
    batch, heads, length, width = query.shape
    yield (4 * batch * heads * round_up(length, 128) * (width + 1),)


_BUFFERS: dict[Any, Callable[..., Iterator[tuple[int, ...]]]] = {
    _aten._safe_softmax.default: _safe_softmax,
    _aten._softmax_backward_data.default: _softmax_backward,
    _aten.embedding_dense_backward.default: _embedding_backward,
    _aten._foreach_norm.Scalar: _foreach_norm,
    _aten._scaled_dot_product_flash_attention.default: _flash_forward,
    _aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    _aten._scaled_dot_product_efficient_attention.default: _efficient_forward,
    _aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    _aten._scaled_dot_product_cudnn_attention_backward.default: _cudnn_backward,
}
