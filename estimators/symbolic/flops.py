"""Floating-point operations of an operator, by torch's own formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from collections.abc import Callable


def flop_formula(func: Any) -> Callable[..., int] | None:
    """Return the formula of an operator (torch/utils/flop_counter.py), or None if it has none.

    The formula takes the operator's arguments, and `out_val`, its output.
    """
    if not isinstance(func, torch._ops.OpOverload):
        return None
    return flop_registry.get(func.overloadpacket)
