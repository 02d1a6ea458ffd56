"""Kernels that take the place of CUDA's: each runs the original, which allocates, and adds the integers.

The original kernels allocate, check and resize exactly as on a real GPU, temporary buffers included, and
write nothing. Floating-point results are theirs alone, and are returned as they are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from . import host, notes
from .computation import Computation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Kernel = Callable[..., Any]
    """Takes the dispatcher's key set and the operator's arguments."""

_NUMBERS = frozenset({bool, int, float, complex})


def original_kernel(name: str) -> Kernel:
    """Return the kernel that CUDA tensors get now, as a function of key set and arguments."""
    call: Kernel = torch.library.get_kernel(f"aten::{name}", "CUDA").call_boxed
    return call


def computed(name: str, *, note: str) -> Kernel:
    """Return a kernel that computes the integers of any operator whose outputs have their true shapes."""
    call, computation = original_kernel(name), Computation(name, note)
    integers = host.INTEGERS
    places = [
        place
        for place, argument in enumerate(computation.schema.arguments)
        if str(argument.type) == "Tensor" and not argument.kwarg_only
    ]
    returns_one = len(computation.schema.returns) == 1

    def of_one_tensor(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(keyset, *args, **kwargs)
        if output.dtype in integers:
            computation.fill([output], args, kwargs)
        return output

    def of_several(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        for place in places:
            if args[place].__class__ in _NUMBERS:
                args = with_tensors(args, places)
                break
        output = call(keyset, *args, **kwargs)
        if output.dtype in integers:
            computation.fill([output], args, kwargs)
        return output

    def with_several_outputs(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        returned = call(keyset, *args, **kwargs)
        outputs = computation.outputs(returned, args)
        if any(output.dtype in integers for output in outputs):
            computation.fill(outputs, args, kwargs)
        return returned

    if not returns_one:
        return with_several_outputs
    return of_several if len(places) > 1 else of_one_tensor


def restored(name: str, *, note: str) -> Kernel:
    """Return a kernel of an in-place operator whose original changes its tensor by other operators."""
    call, computation = original_kernel(name), Computation(name, note)

    def kernel(keyset: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        is_kept = tensor.dtype in host.INTEGERS and not host.is_large(tensor)
        before = host.view(tensor).clone() if is_kept else None
        result = call(keyset, tensor, *args, **kwargs)
        if before is not None:
            host.write(tensor, before)
            computation.fill([tensor], (tensor, *args), kwargs)
        return result

    return kernel


def with_tensors(args: Sequence[Any], places: Sequence[int]) -> tuple[Any, ...]:
    """Return the arguments with tensors where the dispatcher made numbers of a program's numbers.

    A number decides the type of a result only together with the tensor that it meets: its own has to be the
    type that comes of both.
    """
    met = next(args[place] for place in places if isinstance(args[place], torch.Tensor))
    made = list(args)
    for place in places:
        number = args[place]
        if number.__class__ in _NUMBERS:
            # Asking torch takes as long as all the rest.
            is_decided = met.dtype not in host.INTEGERS and number.__class__ is not complex
            made[place] = _tensor_of(number, met.dtype if is_decided else torch.result_type(met, args[place]))
    return tuple(made)


@functools.lru_cache(maxsize=1024, typed=True)  # a model multiplies by the same few numbers again and again
def _tensor_of(number: complex, dtype: torch.dtype) -> torch.Tensor:
    return torch.scalar_tensor(number, dtype=dtype, device="cpu")


def copy_() -> Kernel:
    """Return the kernel that copies integers, between host and GPU too."""
    call, integers = original_kernel("copy_"), host.INTEGERS

    def kernel(keyset: Any, to: Any, source: Any, *args: Any, **kwargs: Any) -> Any:
        if source.__class__ in _NUMBERS:
            source = with_tensors((to, source), (0, 1))[1]
        result = call(keyset, to, source, *args, **kwargs)
        if to.dtype in integers or source.dtype in integers:
            _move(to, source)
        elif to.is_cpu:
            notes.assume(notes.READ)
        return result

    return kernel


def _move(to: torch.Tensor, source: torch.Tensor) -> None:
    """Carry out a copy with integers on one side or both."""
    is_read = to.device.type == "cpu"
    if source.device.type != "cpu":
        if source.dtype not in host.INTEGERS:
            notes.assume(notes.READ if is_read else notes.CONVERTED)
            if not is_read:
                host.clear(to)
            return
        if host.is_large(source):
            host.note_large([to], [source])
            return
    if is_read or (to.dtype in host.INTEGERS and not host.is_large(to)):
        host.stand_in(to).copy_(host.stand_in(source))


def fill_scalar() -> Kernel:
    """Return the kernel that fills a tensor with a number."""
    call, computation = original_kernel("fill_.Scalar"), Computation("fill_.Scalar", notes.CONVERTED)
    integers = host.INTEGERS

    def kernel(keyset: Any, tensor: Any, value: Any) -> Any:
        result = call(keyset, tensor, value)
        if tensor.dtype in integers:
            if value == 0:
                host.clear(tensor)
            else:
                computation.fill([tensor], (tensor, value), {})
        return result

    return kernel


def equal() -> Kernel:
    """Return the kernel that compares two tensors and gives the answer to the program."""
    call, computation = original_kernel("equal"), Computation("equal", notes.TESTED)

    def kernel(keyset: Any, *args: Any) -> Any:
        call(keyset, *args)
        computation.read(args, {})
        return computation.result(args, {})

    return kernel
