"""What must be replaced in libraries so that they treat fake tensors on the symbolic device as CUDA's.

Every replacement holds only while a trace runs, and gives a library the answer it would get on a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.optim.optimizer
import torch.utils._foreach_utils
import transformers.utils.import_utils
from torch._subclasses.fake_tensor import FakeTensor, in_kernel_invocation_manager

from estimators.symbolic.device import NAME
from estimators.symbolic.sparse import sparse_coo_tensor
from estimators.symbolic.values import unknown_on_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.target import Target


_DATA: Any = torch.Tensor.data


@contextlib.contextmanager
def as_on_cuda(
    target: Target, empty_cache: Callable[[], None], *, is_quantized: bool, is_paged: bool
) -> Iterator[None]:
    """Let torch, transformers, peft and bitsandbytes take fake tensors for real ones on a GPU.

    Args:
        target: The GPU, or the CPU, whose optimizers go tensor by tensor.
        empty_cache: Called where a library empties the cache of the GPU.
        is_quantized: Whether the weights are bitsandbytes'.
        is_paged: Whether the optimizer is one of bitsandbytes' that keep large states in managed memory.
    """
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        # Module.to swaps or overwrites parameters in place, which fake tensors refuse.
        enter(mock.patch.object(torch.nn.Module, "_apply", _apply))
        # Methods that keep weights on the host meanwhile exchange the data of their parameters.
        enter(mock.patch.object(torch.Tensor, "data", property(_DATA.__get__, _set_data)))
        # Optimizers and gradient clipping take their foreach form for plain tensors on this device.
        clipping, optimizers = "torch.utils._foreach_utils", "torch.optim.optimizer"
        for name in (clipping,) if target.is_cpu else (clipping, optimizers):
            module = sys.modules[name]  # torch.optim deletes its name for it
            kinds = [*module._foreach_supported_types, FakeTensor]
            enter(mock.patch.object(module, "_foreach_supported_types", kinds))
        # Quantised weights are subclasses of Parameter, which a fake tensor cannot become.
        enter(
            mock.patch.object(
                torch, "sparse_coo_tensor", functools.partial(sparse_coo_tensor, torch.sparse_coo_tensor)
            )
        )
        if is_quantized:
            import bitsandbytes
            import peft

            # It empties the cache where there is a GPU.
            prepare = functools.partial(_prepare, peft.prepare_model_for_kbit_training, empty_cache)
            enter(mock.patch.object(peft, "prepare_model_for_kbit_training", prepare))
            make = functools.partial(_make_subclass, torch.Tensor._make_subclass)
            enter(mock.patch.object(torch.Tensor, "_make_subclass", staticmethod(make)))
            enter(mock.patch.object(bitsandbytes.nn.Int8Params, "_quantize", _quantize_int8))
        if is_paged:
            import bitsandbytes.functional

            get_paged = functools.partial(_get_paged, target)
            enter(mock.patch.object(bitsandbytes.functional, "get_paged", get_paged))
            for name in ("fill", "prefetch_tensor"):  # kernels of its library, which allocate nothing
                enter(mock.patch.object(bitsandbytes.functional, name, _launch))
        # transformers takes another course for fake tensors, whose masks it believes it cannot look into.
        if hasattr(transformers.utils.import_utils, "is_fake_tensor"):
            enter(mock.patch.object(transformers.utils.import_utils, "is_fake_tensor", _is_no_fake))
        # Tensors made from Python lists are made on the host and then moved.
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        yield


def _set_data(tensor: torch.Tensor, data: torch.Tensor) -> None:
    """Set a tensor's data where one is real and the other fake, which torch refuses.

    A host tensor stays real, with unknown values: it moves to the device before long. A device tensor that
    shall be on the host stays fake, without storage here.
    """
    if not isinstance(tensor, FakeTensor):
        is_fake = isinstance(data, FakeTensor)
        _DATA.__set__(tensor, unknown_on_host(data, data.dtype) if is_fake else data)
        return
    if not isinstance(data, FakeTensor):
        with in_kernel_invocation_manager(tensor.fake_mode):
            layout = torch.empty_strided(data.shape, data.stride(), dtype=data.dtype, device="meta")
        _DATA.__set__(tensor, FakeTensor(tensor.fake_mode, layout, torch.device(NAME, 0)))
        tensor.fake_device = torch.device("cpu")
        return
    _DATA.__set__(tensor, data)
    tensor.fake_device = data.fake_device


def _is_no_fake(tensor: object) -> bool:
    return False  # not a mock's return value: a mock would keep the tensors it was asked about


def _apply(module: torch.nn.Module, convert: Callable[..., Any], recurse: bool = True) -> torch.nn.Module:
    """Do what `Module._apply` does when torch.__future__ says that it makes new parameters."""
    if recurse:
        for child in module.children():
            child._apply(convert)  # type: ignore[no-untyped-call]
    for name, parameter in module._parameters.items():
        if parameter is None:
            continue
        with torch.no_grad():
            converted = convert(parameter)
        if converted is not parameter:
            # Quantised weights make a parameter of their own class when they are moved.
            is_ready = isinstance(converted, torch.nn.Parameter) or getattr(converted, "_is_param", False)
            module._parameters[name] = (
                converted if is_ready else torch.nn.Parameter(converted, parameter.requires_grad)
            )
        if parameter.grad is not None and converted is not parameter:
            module._parameters[name].grad = convert(parameter.grad)  # type: ignore[union-attr]
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = convert(buffer)
    return module


def _make_subclass(
    original: Callable[..., Any], cls: Any, data: Any, requires_grad: bool = False, **settings: Any
) -> Any:
    if cls.__module__.partition(".")[0] != "bitsandbytes" or not isinstance(data, FakeTensor):
        return original(cls, data, requires_grad, **settings)
    made = data.detach()
    made.__class__ = _fake_class(cls)
    made._is_param = True
    return made.requires_grad_(requires_grad)


def _prepare(
    original: Callable[..., Any], empty_cache: Callable[[], None], *args: Any, **settings: Any
) -> Any:
    with (
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "empty_cache", empty_cache),
    ):
        return original(*args, **settings)


def _quantize_int8(weight: Any, device: torch.device) -> Any:
    """Do what `Int8Params._quantize` does, but make a new parameter: the host's cannot become fake."""
    import bitsandbytes

    on_device = weight.data.contiguous().to(device=device, dtype=torch.float16)
    rows, scales, _ = bitsandbytes.functional.int8_vectorwise_quant(on_device)
    return bitsandbytes.nn.Int8Params(rows, requires_grad=False, CB=rows, SCB=scales)


def _get_paged(target: Target, *shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return an optimizer's state in managed memory, which is not the allocator's; the CPU has no such.

    For CPU parameters bitsandbytes makes ordinary states instead (optim/optimizer.py, get_state_buffer).
    """
    if target.is_cpu:
        return torch.zeros(shape, dtype=dtype, device=device)
    state = torch.empty(shape, dtype=dtype)
    state.is_paged = True  # type: ignore[attr-defined]
    return state


def _launch(*args: Any, **settings: Any) -> None:
    """Do nothing."""


@functools.cache
def _fake_class(cls: type) -> type:
    """Return a class that is both a fake tensor and a parameter class of bitsandbytes."""
    return type(cls.__name__, (FakeTensor, cls), {"__module__": cls.__module__})
