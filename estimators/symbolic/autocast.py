"""Autocast on the symbolic device, with the operator lists of CUDA.

The lists are those of `aten/src/ATen/autocast_mode.h` (torch 2.13). torch leaves the autocast of an
out-of-tree device to whoever registers it, so the casts are done here, in the same order and with the same
cache of cast weights.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_iter, tree_map

from estimators.symbolic.device import NAME
from estimators.symbolic.internals import HALF

if TYPE_CHECKING:
    from estimators.target import Target

_LOWER_PRECISION = (
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d.input",
    "conv_transpose3d.input", "convolution", "prelu", "addmm", "addmv", "addr", "matmul", "einsum",
    "mm", "mv", "linalg_vecdot", "linalg_multi_dot", "linear", "addbmm", "baddbmm", "bmm",
    "chain_matmul", "scaled_dot_product_attention",
)  # fmt: skip
_FP32 = (
    "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal",
    "rsqrt", "sinh", "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "softplus",
    "layer_norm", "native_layer_norm", "group_norm", "cosine_similarity", "cosine_embedding_loss",
    "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss",
    "huber_loss", "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist",
    "cdist", "renorm", "logsumexp",
)  # fmt: skip
# They compute in fp32 unless the caller names a type.
_FP32_OUTPUT = (
    "prod", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "sum", "sum.dim_IntList",
    "prod.dim_int",
)  # fmt: skip
# They compute in the widest type of their operands.
_WIDEST = (
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put",
    "tensordot", "scatter_add", "cat", "stack",
)  # fmt: skip

_LOWER_PRECISION_CPU = (
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d.input",
    "conv_transpose3d.input", "bmm", "mm", "linalg_vecdot", "baddbmm", "addmm", "addbmm", "linear", "matmul",
    "scaled_dot_product_attention",
)  # fmt: skip
_FP32_CPU = ("binary_cross_entropy", "grid_sampler", "prod", "cdist", "mse_loss", "multilabel_margin_loss")
_WIDEST_CPU = ("cat", "stack")

_KEY = "AutocastPrivateUse1"
_weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # id of a leaf -> the leaf, its cast


@functools.cache
def register(target: Target) -> tuple[torch.library.Library, ...]:
    """Register the casts with torch, once; the libraries returned keep them registered."""
    fallback = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]
    fallback.fallback(torch.library.fallthrough_kernel, _KEY)  # type: ignore[no-untyped-call]
    aten = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    on_cuda: tuple[tuple[tuple[str, ...], Any], ...] = (
        (_LOWER_PRECISION, _in_lower_precision),
        (_FP32, _in_fp32),
        (_FP32_OUTPUT, _with_fp32_output),
        (_WIDEST, _in_widest),
    )
    on_cpu = ((_LOWER_PRECISION_CPU, _in_lower_precision), (_FP32_CPU, _in_fp32), (_WIDEST_CPU, _in_widest))
    for names, rule in on_cpu if target.is_cpu else on_cuda:
        for name in names:
            packet, _, overload = name.partition(".")
            func = getattr(getattr(torch.ops.aten, packet), overload or "default")
            cast = functools.partial(rule, func)
            aten.impl(name, cast, _KEY)  # type: ignore[no-untyped-call]
    clear = torch.clear_autocast_cache

    def clear_both() -> None:
        _weights.clear()
        clear()

    torch.clear_autocast_cache = clear_both
    return fallback, aten


def _without_autocast(func: Any, args: Any, kwargs: Any) -> Any:
    key = getattr(torch._C.DispatchKey, _KEY)
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
        return func(*args, **kwargs)


def _in_lower_precision(func: Any, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = _cast(args, kwargs, torch.get_autocast_dtype(NAME))
    return _without_autocast(func, args, kwargs)


def _in_fp32(func: Any, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = _cast(args, kwargs, torch.float32)
    return _without_autocast(func, args, kwargs)


def _with_fp32_output(func: Any, *args: Any, **kwargs: Any) -> Any:
    is_eligible = isinstance(args[0], torch.Tensor) and args[0].is_floating_point()
    position = [argument.name for argument in func._schema.arguments].index("dtype")
    named = args[position] if len(args) > position else kwargs.get("dtype")
    if is_eligible and named is None and args[0].dtype in HALF:
        args, kwargs = args[:position], {**kwargs, "dtype": torch.float32}
    return _without_autocast(func, args, kwargs)


def _in_widest(func: Any, *args: Any, **kwargs: Any) -> Any:
    dtype = torch.get_autocast_dtype(NAME)
    found = [leaf.dtype for leaf in tree_iter((args, kwargs)) if _is_float(leaf)]
    widest = torch.float32 if torch.float32 in found else dtype
    args, kwargs = _cast(args, kwargs, widest)
    return _without_autocast(func, args, kwargs)


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.device.type == NAME


def _cast(args: Any, kwargs: dict[str, Any], dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Cast the arguments from the last to the first, as the builds of torch do that GCC compiles.

    autocast_mode.h casts them in the arguments of one call, which C++ may evaluate in any order.
    """

    def cast(leaf: Any) -> Any:
        if not _is_float(leaf) or leaf.dtype in (dtype, torch.float64):
            return leaf
        # autocast_mode.cpp, cached_cast: only casts of trainable fp32 leaves to 16 bits are kept.
        is_weight = (
            leaf.requires_grad and leaf.is_leaf and not leaf._is_view() and dtype is not torch.float32
            and leaf.dtype is torch.float32 and torch.is_autocast_cache_enabled()
        )  # fmt: skip
        if not is_weight:
            return leaf.to(dtype)
        if id(leaf) not in _weights:
            _weights[id(leaf)] = (leaf, leaf.to(dtype))
        return _weights[id(leaf)][1]

    named = {name: tree_map(cast, kwargs[name]) for name in reversed(kwargs)}
    return tuple(tree_map(cast, argument) for argument in reversed(args))[::-1], named
