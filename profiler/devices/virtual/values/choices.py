"""Choices by floating-point data, which is not there: the candidates take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from . import host, notes
from .computation import Computation
from .kernels import original_kernel

if TYPE_CHECKING:
    from .kernels import Kernel


def chosen(name: str) -> Kernel:
    """Return a kernel of an operator that chooses along a dimension; its last output says which.

    Integers are chosen truly. Of floating-point data, the row i of k choices of n candidates takes those from
    i * k on, modulo n: a router sends as many tokens to each expert.
    """
    call, computation = original_kernel(name), Computation(name, notes.CHOSEN)
    places = {argument.name: place for place, argument in enumerate(computation.schema.arguments)}
    defaults = {argument.name: argument.default_value for argument in computation.schema.arguments}
    place = places.get("dim")

    def kernel(keyset: Any, candidates: Any, *args: Any, **kwargs: Any) -> Any:
        returned = call(keyset, candidates, *args, **kwargs)
        outputs = computation.outputs(returned, (candidates, *args))
        if candidates.dtype in host.INTEGERS:
            computation.fill(outputs, (candidates, *args), kwargs)
            return returned
        notes.assume(notes.CHOSEN)
        if place is None:
            dim: int | None = -1
        elif len(args) >= place:
            dim = args[place - 1]
        else:
            dim = kwargs.get("dim", defaults["dim"])
        if not host.is_large(outputs[-1]):
            host.write(outputs[-1], _in_turn(outputs[-1].shape, candidates.shape, dim))
        return returned

    return kernel


def _in_turn(shape: torch.Size, candidates: torch.Size, dim: int | None) -> torch.Tensor:
    """Return indices along a dimension of the candidates, in the shape that they are wanted in."""
    if dim is None or not candidates or 0 in shape:
        return torch.zeros(shape, dtype=torch.long, device="cpu")
    dim %= len(candidates)
    count = shape[dim] if len(shape) == len(candidates) else 1
    others = [size for place, size in enumerate(candidates) if place != dim]
    rows = torch.Size(others).numel()
    first = torch.arange(rows, device="cpu") * (count if count < candidates[dim] else 1)
    indices = (first[:, None] + torch.arange(count, device="cpu")) % candidates[dim]
    return indices.reshape(*others, count).movedim(-1, dim).reshape(shape)
