"""What CUDA's kernels allocate inside an operator, which fake tensors do not show."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.symbolic.builder import LedgerBuilder

_aten = torch.ops.aten
_MATRIX_PRODUCTS = {
    _aten.mm.default,
    _aten.bmm.default,
    _aten.addmm.default,
    _aten.baddbmm.default,
    _aten._grouped_mm.default,
}


def cublas_workspace_bytes(capability: tuple[int, int]) -> int:
    """Return the workspace of a cuBLAS handle (aten/src/ATen/cuda/CublasHandlePool.cpp)."""
    return 4096 * 8 * 1024 if capability[0] >= 9 else 4096 * 2 * 1024 + 16 * 8 * 1024


class CudaInternals:
    """The buffers of cuBLAS and of kernels, for one trace."""

    def __init__(self, capability: tuple[int, int], builder: LedgerBuilder) -> None:
        self._capability = capability
        self._builder = builder
        self._threads_with_workspace: set[int] = set()

    def __call__(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> Iterator[int]:
        """Yield the bytes of each buffer that lives only inside the operator."""
        if func in _MATRIX_PRODUCTS:
            self._need_workspace()
        return iter(())

    def _need_workspace(self) -> None:
        from estimators.ledger import Owner

        thread = threading.get_ident()
        if thread not in self._threads_with_workspace:
            self._threads_with_workspace.add(thread)
            self._builder.allocate(cublas_workspace_bytes(self._capability), Owner.WORKSPACE)
