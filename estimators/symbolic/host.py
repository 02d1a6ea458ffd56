"""Operators on host tensors, which run for real, but for what takes long and nobody looks at."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_map

from estimators.symbolic.flops import flop_formula

_aten = torch.ops.aten
# Filling large tensors with random numbers takes longer than everything else: they stay as they were made.
_RANDOM_FILLS = {
    _aten.normal_.default,
    _aten.uniform_.default,
    _aten.random_.default,
    _aten.bernoulli_.float,
    _aten.exponential_.default,
}
_RANDOM_FACTORIES = {_aten.randn.default, _aten.rand.default, _aten.randn.generator, _aten.rand.generator}
_LARGE = 1 << 16
# Some methods decompose every weight when they begin. The factors of large ones are given their shapes only.
_DECOMPOSITIONS = {
    _aten._linalg_svd.default,
    _aten._linalg_eigh.default,
    _aten.linalg_qr.default,
    _aten.linalg_eig.default,
    _aten.linalg_cholesky_ex.default,
    _aten.linalg_inv_ex.default,
    _aten._linalg_solve_ex.default,
    _aten.linalg_lu_factor_ex.default,
}
_LARGE_MATRIX = 1 << 18
_MANY_FLOPS = 10**9


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator whose tensors are all on the host."""
    if func in _RANDOM_FILLS and args[0].numel() > _LARGE:
        return args[0]
    with no_dispatch():
        if func in _RANDOM_FACTORIES and math.prod(args[0]) > _LARGE:
            settings = {name: value for name, value in kwargs.items() if name != "generator"}
            return torch.zeros(args[0], **settings)
        if _is_heavy(func, args, kwargs):
            on_meta = tree_map(_to_meta, (args, kwargs))
            return tree_map(_zeros, func(*on_meta[0], **on_meta[1]))
        return func(*args, **kwargs)


def _is_heavy(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if func in _DECOMPOSITIONS:
        return bool(args[0].numel() > _LARGE_MATRIX)
    formula = None if func._schema.is_mutable else flop_formula(func)
    if formula is None or any(not isinstance(argument, torch.Tensor) for argument in args):
        return False
    return formula(*args, **kwargs, out_val=args[0]) > _MANY_FLOPS


def _to_meta(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf


def _zeros(leaf: Any) -> Any:
    return torch.zeros(leaf.shape, dtype=leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
