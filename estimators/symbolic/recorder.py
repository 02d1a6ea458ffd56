"""`Recorder`: runs host operators for real and device operators on fake tensors, and keeps the ledger."""

from __future__ import annotations

import functools
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from estimators.symbolic import accumulation, host, values
from estimators.symbolic.device import NAME
from estimators.symbolic.flops import flop_formula
from estimators.symbolic.internals import (
    HALF,
    MATRIX_PRODUCTS,
    buffers,
    cublas_workspace_bytes,
    depends_on_sm_count,
    on_device,
    with_layout_of_cuda,
)
from estimators.symbolic.memo import ShapeMemo
from estimators.symbolic.substitutes import substitute

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch._subclasses.fake_tensor import FakeTensorMode

    from estimators.symbolic.builder import LedgerBuilder
    from estimators.target import Target

_aten = torch.ops.aten
_DEVICE = torch.ops.prim.device.default


@dataclass(frozen=True)
class _OperatorFacts:
    """What is the same at every call of an operator."""

    name: str
    is_view: bool
    decomposes: bool
    is_functional: bool
    """Whether it changes none of its arguments and returns one tensor."""
    flops: Callable[..., int] | None


def _has_kernel(func: Any, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


@functools.cache
def _facts(func: Any) -> _OperatorFacts:
    is_aten = isinstance(func, torch._ops.OpOverload) and func.namespace != "prim"
    return _OperatorFacts(
        name=str(func),
        is_view=is_aten and func.is_view,
        # Some, such as silu_backward, have a kernel of their own beside their parts (native_functions.yaml).
        decomposes=is_aten
        and _has_kernel(func, "CompositeImplicitAutograd")
        and not _has_kernel(func, "CPU"),
        is_functional=is_aten and not func._schema.is_mutable and len(func._schema.returns) == 1,
        flops=flop_formula(func),
    )


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator below autograd, in forward and in backward.

    Enter it inside a `FakeTensorMode(allow_non_fake_inputs=True)`. Tensors on the host are real, so that
    what a library decides by their values is decided as always; tensors on the device are fake. Integers
    and booleans on the device keep their values too, as far as those follow from the host's.

    Args:
        fake_mode: The mode of the fake tensors.
        builder: Is told every allocation, death and operator.
        target: The GPU whose kernels are assumed.
        on_error: Is told of every exception, before it leaves for where it may abort the process.
    """

    def __init__(
        self,
        fake_mode: FakeTensorMode,
        builder: LedgerBuilder,
        target: Target,
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._builder = builder
        self._target = target
        self._on_error = on_error
        self._memo = ShapeMemo(fake_mode)
        self._numbers: dict[int, int] = {}  # storage -> tensor
        self._refs: set[weakref.ref[torch.UntypedStorage]] = set()
        accumulation.holders_of_one()  # which cannot be counted inside a mode

    def number_of(self, tensor: torch.Tensor) -> int | None:
        """Return the number of a device tensor in the ledger, or None if it has no storage there."""
        return self._numbers.get(tensor.untyped_storage()._cdata)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled, and looking after it takes longer than most operators

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # asked for more often than anything is computed
        if func is accumulation.SUM and accumulation.is_done_in_place(args, sys._getframe(1)):
            func = accumulation.SUM_IN_PLACE
        try:
            return self._run(func, args, kwargs or {})
        except BaseException as error:
            if self._builder.is_in_backward:
                self._on_error(error)
            raise

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _is_on_device(args, kwargs):
            return host.run(func, args, kwargs)
        facts = _facts(func)
        if facts.name.startswith("prim."):
            return func(*args, **kwargs)  # a question about a tensor
        if facts.decomposes:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        self._builder.depends_on_sm_count |= depends_on_sm_count(func, args)
        if (stand_in := substitute(func, self._target)) is not None:
            with self:
                return stand_in(*args, **kwargs)
        if func is _aten._local_scalar_dense.default:
            return self._item(args[0])
        if func is _aten._to_copy.default and (moved := self._moved(args[0], kwargs)) is not None:
            return moved
        result = values.data_dependent(func, args, kwargs)
        if result is NotImplemented:
            run = self._memo.run if facts.is_functional else _run
            result = with_layout_of_cuda(func, run(func, args, kwargs))
        self._builder.note_node()
        if facts.is_view:
            values.follow(func, args, kwargs, result, most=self._most_known())
            return result
        self._record(func, facts, args, kwargs, result)
        return result

    def _record(self, func: Any, facts: _OperatorFacts, args: Any, kwargs: Any, result: Any) -> None:
        outputs = (result,) if isinstance(result, torch.Tensor) else _tensors(result)
        written = 0
        for tensor in on_device(func, args, outputs):
            written += self._register(tensor)
        values.follow(func, args, kwargs, result, most=self._most_known())
        builder = self._builder
        if not self._target.is_cpu:
            if func in MATRIX_PRODUCTS:
                builder.need_workspace(cublas_workspace_bytes(self._target))
            for sizes in buffers(self._target, func, args, kwargs):
                builder.transient(*sizes)
        read, is_16bit = 0, False
        for argument in args:
            if isinstance(argument, torch.Tensor):
                read += argument.nbytes
                is_16bit = is_16bit or argument.dtype in HALF
            elif isinstance(argument, list | tuple):
                read += sum(item.nbytes for item in argument if isinstance(item, torch.Tensor))
        flops = facts.flops(*args, **kwargs, out_val=result) if facts.flops else 0
        builder.operator(
            facts.name,
            flops=flops,
            bytes_read=read,
            bytes_written=written or (outputs[0].nbytes if outputs else 0),
            is_16bit=is_16bit,
        )

    def _register(self, tensor: torch.Tensor) -> int:
        """Note an allocation if the tensor's storage is new; return the bytes of the tensor then, else 0."""
        if tensor.device.type != NAME:
            return 0
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._numbers:
            return 0
        size = storage.nbytes()
        if size == 0:
            return 0
        number = self._builder.allocate(size)
        self._numbers[key] = number

        def died(ref: weakref.ref[torch.UntypedStorage]) -> None:
            self._refs.discard(ref)
            if self._numbers.get(key) == number:
                del self._numbers[key]
            self._builder.free(number)

        self._refs.add(weakref.ref(storage, died))
        return size

    def _moved(self, source: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor | None:
        """Copy between host and device, where fake tensors would not keep what is known of the values."""
        target = kwargs.get("device")
        if target is None:
            return None
        to_device = torch.device(target).type == NAME
        if to_device and not isinstance(source, FakeTensor):
            dtype = kwargs.get("dtype") or source.dtype
            made = torch.empty_strided(source.shape, source.stride(), dtype=dtype, device=target)
            self._register(made)
            values.remember(made, source, most=self._most_known())
            return made
        if not to_device and isinstance(source, FakeTensor):
            dtype = kwargs.get("dtype") or source.dtype
            known = values.known(source)
            if known is None:
                return values.unknown_on_host(source, dtype)
            with no_dispatch():
                return known.to(dtype=dtype, copy=True)
        return None

    def _most_known(self) -> int:
        return values.MOST_ELEMENTS_IN_LOADING if self._builder.is_loading else values.MOST_ELEMENTS

    def _item(self, tensor: torch.Tensor) -> Any:
        known = values.known(tensor)
        if known is not None:
            with no_dispatch():
                return known.item()
        return self._builder.assumed_scalar(tensor)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


def _is_on_device(args: Any, kwargs: dict[str, Any]) -> bool:
    for argument in args:
        if isinstance(argument, FakeTensor):
            return True
        if isinstance(argument, list | tuple) and any(isinstance(item, FakeTensor) for item in argument):
            return True
    device = kwargs.get("device")
    if device is not None and torch.device(device).type == NAME:
        return True
    return any(isinstance(argument, FakeTensor) for argument in kwargs.values())


def _tensors(result: Any) -> list[torch.Tensor]:
    if result is None or isinstance(result, bool | int | float):
        return []
    return [leaf for leaf in tree_iter(result) if isinstance(leaf, torch.Tensor)]
