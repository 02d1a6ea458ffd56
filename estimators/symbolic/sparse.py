"""Sparse matrices on the symbolic device, which fake tensors there cannot be.

A stand-in keeps the indices and the values, as CUDA's COO matrix does, and allocates in each operation that
peft's methods use what the sparse kernels return. What they sort with inside is left out.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor


def sparse_coo_tensor(
    original: Any, indices: Any, values: Any = None, size: Any = None, **settings: Any
) -> Any:
    """Do what `torch.sparse_coo_tensor` does, for fake values with a stand-in."""
    if isinstance(values, FakeTensor):
        return SparseMatrix(indices, values, tuple(size))
    return original(indices, values, size, **settings)


class SparseMatrix:
    """A matrix of which only some elements are there."""

    def __init__(self, indices: torch.Tensor, values: torch.Tensor, shape: tuple[int, ...]) -> None:
        self.indices, self.values, self.shape = indices, values, shape

    def coalesce(self) -> SparseMatrix:
        """Return a matrix with sorted copies of the indices and values."""
        return SparseMatrix(self.indices.clone(), self.values.clone(), self.shape)

    def to_dense(self) -> torch.Tensor:
        """Return a dense copy."""
        empty = torch.zeros(self.shape, dtype=self.values.dtype, device=self.values.device)
        return _add(empty, self)

    def _nnz(self) -> int:
        return self.values.numel()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.__iadd__, torch.Tensor.add_):
            return _add(args[0], args[1])
        if func is torch.sparse.mm:
            return _Multiply.apply(args[0].values, args[1], args[0].shape[0])
        return NotImplemented


def _add(dense: torch.Tensor, sparse: SparseMatrix) -> torch.Tensor:
    return _Add.apply(dense, sparse.values.to(dense.dtype))  # type: ignore[no-any-return]


class _Add(torch.autograd.Function):
    """Adds the elements of a sparse matrix to a dense one, in place."""

    @staticmethod
    def forward(ctx: Any, dense: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(dense)
        ctx.like = functools.partial(torch.empty, values.shape, dtype=values.dtype, device=values.device)
        return dense

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return grad, ctx.like()


class _Multiply(torch.autograd.Function):
    """Multiplies a sparse matrix with a dense one."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, dense: torch.Tensor, rows: int) -> torch.Tensor:
        ctx.save_for_backward(values, dense)
        return torch.empty((rows, dense.shape[1]), dtype=dense.dtype, device=dense.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        values, dense = ctx.saved_tensors
        return torch.empty_like(values), torch.empty_like(dense), None
