"""What is known of the values of device tensors: integers and booleans that follow from the host's.

Libraries decide by masks, position ids and counts. Those are small, so they are computed for real beside the
fake tensors; floating-point values are never known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_map

from estimators.symbolic.device import NAME

_aten = torch.ops.aten
_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_MOST_ELEMENTS = 1 << 20
"""Larger tensors, such as the masks of long sequences, lose their values: computing them would take long."""

# Operators whose output's shape depends on values: with known values they are run for real.
_DATA_DEPENDENT = {
    _aten.nonzero.default,
    _aten.unique_consecutive.default,
    _aten._unique2.default,
    _aten.masked_select.default,
    _aten.bincount.default,
    _aten.repeat_interleave.Tensor,
}


class _Unknown(Exception):
    """A value that is not known."""


def known(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the values of a device tensor as a host tensor, or None where they are not known."""
    return getattr(tensor, "_known_values", None)


def remember(tensor: torch.Tensor, host: torch.Tensor) -> None:
    """Keep the values of a host tensor that was copied to the device, if they are integers and few."""
    if tensor.dtype in _INTEGERS and tensor.numel() <= _MOST_ELEMENTS:
        with no_dispatch():
            tensor._known_values = host.detach().to(tensor.dtype, copy=True)  # type: ignore[attr-defined]


def follow(func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
    """Compute the values of an operator's integer output, if all its inputs' values are known."""
    if not isinstance(result, FakeTensor) or result.dtype not in _INTEGERS:
        return
    if result.numel() > _MOST_ELEMENTS:
        return
    try:
        real = _on_values(func, args, kwargs)
    except _Unknown:
        real = None
    except (RuntimeError, NotImplementedError, TypeError):
        real = None  # no kernel for it on the host
    if isinstance(real, torch.Tensor) and real.shape == result.shape:
        result._known_values = real  # type: ignore[attr-defined]
    elif hasattr(result, "_known_values"):
        del result._known_values


def data_dependent(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator whose output's shape depends on known values; NotImplemented for any other."""
    if func not in _DATA_DEPENDENT and not _indexes_with_mask(func, args):
        return NotImplemented
    if func is _aten.index.Tensor:
        indices = [index if index is None or index.dtype != torch.bool else None for index in args[1]]
        if len(args[1]) == 1 and known(args[1][0]) is not None:
            with no_dispatch():
                positions = known(args[1][0]).nonzero(as_tuple=True)
            indices = [_on_device(position) for position in positions]
            return func(args[0], indices)
        return NotImplemented
    try:
        real = _on_values(func, args, kwargs)
    except _Unknown:
        return NotImplemented
    return tree_map(lambda leaf: _on_device(leaf) if isinstance(leaf, torch.Tensor) else leaf, real)


def _indexes_with_mask(func: Any, args: Any) -> bool:
    return func is _aten.index.Tensor and any(
        index is not None and index.dtype == torch.bool for index in args[1]
    )


def _on_device(host: torch.Tensor) -> torch.Tensor:
    made = torch.empty(host.shape, dtype=host.dtype, device=torch.device(NAME, 0))
    remember(made, host)
    return made


def _on_values(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    def real(leaf: Any) -> Any:
        if isinstance(leaf, FakeTensor):
            if (value := known(leaf)) is None:
                raise _Unknown
            return value
        if isinstance(leaf, torch.device) and leaf.type == NAME:
            return torch.device("cpu")
        return leaf

    host_args, host_kwargs = tree_map(real, (args, kwargs))
    with no_dispatch():
        return func(*host_args, **host_kwargs)
