"""What is known of the values of device tensors: small ones that follow from the host's.

Libraries decide by masks, position ids and counts. Those are small, so they are computed for real beside the
fake tensors. Weights and activations are not known; where a library copies them to the host, it gets random
numbers.
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
MOST_ELEMENTS = 1 << 20
"""Larger tensors, such as the masks of long sequences, lose their values: computing them would take long."""
MOST_ELEMENTS_IN_LOADING = 1 << 26
"""Methods choose some elements of each weight when they begin, which happens once."""

_MOST_FLOATS = 1 << 14
"""Masks that prompt methods make of ones are floats; weights are larger."""

_MOST_RANDOM = 1 << 24

# Operators whose output's shape depends on values: with known values they are run for real.
_DATA_DEPENDENT = {
    _aten.nonzero.default,
    _aten.unique_consecutive.default,
    _aten._unique2.default,
    _aten.masked_select.default,
    _aten.bincount.default,
    _aten.repeat_interleave.Tensor,
}

_UNINITIALISED = {
    _aten.empty.memory_format,
    _aten.empty_like.default,
    _aten.empty_strided.default,
    _aten.new_empty.default,
    _aten.new_empty_strided.default,
}


class _Unknown(Exception):
    """A value that is not known."""


def known(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the values of a device tensor as a host tensor, or None where they are not known."""
    return getattr(tensor, "_known_values", None)


def remember(tensor: torch.Tensor, host: torch.Tensor, *, most: int = MOST_ELEMENTS) -> None:
    """Keep the values of a host tensor that was copied to the device, if they are few."""
    if tensor.numel() <= (most if tensor.dtype in _INTEGERS else _MOST_FLOATS):
        with no_dispatch():
            tensor._known_values = host.detach().to(tensor.dtype, copy=True)  # type: ignore[attr-defined]


def follow(func: Any, args: Any, kwargs: dict[str, Any], result: Any, *, most: int = MOST_ELEMENTS) -> None:
    """Compute the values of an operator's small outputs, if all its inputs' values are known."""
    outputs = result if isinstance(result, list | tuple) else (result,)
    if (
        not outputs
        or not isinstance(outputs[0], FakeTensor)
        or not _is_followed(func, args, outputs[0], most)
    ):
        return
    try:
        real = None if func in _UNINITIALISED else _on_values(func, args, kwargs)
    except _Unknown:
        real = None
    except (RuntimeError, NotImplementedError, TypeError):
        real = None  # no kernel for it on the host
    reals = real if isinstance(real, list | tuple) else (real,) * len(outputs)
    for output, value in zip(outputs, reals, strict=False):
        if isinstance(value, torch.Tensor) and value.shape == output.shape:
            output._known_values = value
        elif hasattr(output, "_known_values"):
            del output._known_values


def _is_followed(func: Any, args: Any, output: FakeTensor, most: int) -> bool:
    if output.dtype in _INTEGERS:
        return output.numel() <= most
    # A view of a float is most often a weight made a parameter, whose values will change.
    return not func.is_view and output.numel() <= _MOST_FLOATS and _all_known(args)


def _all_known(args: Any) -> bool:
    for argument in args:
        if isinstance(argument, list | tuple):
            if not _all_known(argument):
                return False
        elif isinstance(argument, FakeTensor) and not hasattr(argument, "_known_values"):
            return False
    return True


def unknown_on_host(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a host tensor for a device tensor of unknown values: random numbers, if it is not too large."""
    with no_dispatch():
        host = torch.zeros(tensor.shape, dtype=dtype)
        if dtype.is_floating_point and tensor.numel() <= _MOST_RANDOM:
            host.normal_(generator=torch.Generator().manual_seed(tensor.numel()))
        return host


def data_dependent(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator whose output's shape depends on values; NotImplemented for any other.

    Values that are not known are taken as zero, and masks as true everywhere.
    """
    if func is _aten.index.Tensor and any(_is_mask(index) for index in args[1]):
        return func(args[0], [position for index in args[1] for position in _positions(index)])
    if func not in _DATA_DEPENDENT:
        return NotImplemented
    real = _on_values(func, args, kwargs, unknown=torch.zeros_like)
    return tree_map(lambda leaf: _on_device(leaf) if isinstance(leaf, torch.Tensor) else leaf, real)


def _is_mask(index: Any) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def _positions(index: Any) -> list[Any]:
    """Return an index as positions: a mask as those of its true elements, one tensor for each dimension."""
    if not _is_mask(index):
        return [index]
    mask = known(index)
    with no_dispatch():
        if mask is None:
            mask = torch.ones(index.shape, dtype=torch.bool)
        positions = mask.nonzero(as_tuple=True)
    return [_on_device(position) for position in positions]


def _on_device(host: torch.Tensor) -> torch.Tensor:
    made = torch.empty(host.shape, dtype=host.dtype, device=torch.device(NAME, 0))
    remember(made, host, most=MOST_ELEMENTS_IN_LOADING)
    return made


def _on_values(func: Any, args: Any, kwargs: dict[str, Any], *, unknown: Any = None) -> Any:
    """Run an operator on the host, with the values of its inputs.

    Raises:
        _Unknown: If one is not known, and `unknown` does not make one up.
    """

    def real(leaf: Any) -> Any:
        if isinstance(leaf, FakeTensor):
            if (value := known(leaf)) is not None:
                return value
            if unknown is None:
                raise _Unknown
            return unknown(torch.empty(leaf.shape, dtype=leaf.dtype))
        if isinstance(leaf, torch.device) and leaf.type == NAME:
            return torch.device("cpu")
        return leaf

    with no_dispatch():
        host_args, host_kwargs = tree_map(real, (args, kwargs))
        return func(*host_args, **host_kwargs)
