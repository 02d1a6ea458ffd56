"""Sums of gradients: autograd adds in place where it alone holds the first, but not while a mode looks on.

Where several gradients reach a node, the engine adds them as they come (torch/csrc/autograd/input_buffer.cpp,
`accumulate`). A dispatch mode makes every tensor one that it had better not change, so the rule is applied
here to the sums that it asks for.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import torch
import torch.autograd.graph
from torch._prims_common import is_non_overlapping_and_dense_or_false
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from types import FrameType

SUM = torch.ops.aten.add.Tensor
SUM_IN_PLACE = torch.ops.aten.add_.Tensor

_ENGINE = torch.autograd.graph._engine_run_backward.__code__


def is_done_in_place(args: tuple[Any, ...], caller: FrameType) -> bool:
    """Return whether a sum is one of the engine that a run without a mode does in place.

    Args:
        args: The arguments of the sum; nothing but this tuple may refer to the first here.
        caller: Who called the mode. Sums of hooks, of recomputation and of functions in Python come from
            other frames; those inside a derivative's own formula are not told apart, which first derivatives
            hardly have.
    """
    return (
        caller.f_code is _ENGINE
        and not torch.is_grad_enabled()
        and _holders(args) == holders_of_one()
        and bool(is_non_overlapping_and_dense_or_false(args[0]))
    )


@functools.cache
def holders_of_one() -> tuple[int, ...]:
    """Return the holders of a gradient that the engine alone holds, as a mode sees them.

    They are counted where there is no doubt, since they differ with the version of Python and torch. Call it
    first outside of every mode.
    """
    with torch.autograd.set_multithreading_enabled(False), _Witness() as witness:  # type: ignore[no-untyped-call]
        leaf = torch.ones(2, requires_grad=True)
        shared = leaf * 2
        (shared.sin() + shared.cos()).sum().backward()  # type: ignore[no-untyped-call]
    holders: tuple[int, ...] = witness.holders
    return holders


class _Witness(TorchDispatchMode):  # type: ignore[no-untyped-call]
    holders: tuple[int, ...] = ()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is SUM and sys._getframe(1).f_code is _ENGINE:
            self.holders = _holders(args)
        return func(*args, **(kwargs or {}))


def _holders(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Count who refers to the first argument: in Python, in C++, and to its storage."""
    return (
        sys.getrefcount(args[0]),
        args[0]._use_count(),
        torch._C._storage_Use_Count(args[0].untyped_storage()._cdata),
    )
