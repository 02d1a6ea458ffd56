"""What tensors are for, told by the addresses of what models and optimizers hold."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PARAMETERS, GRADIENTS, OPTIMIZER_STATES = "parameters", "gradients", "optimizer"


class TensorLabels:
    """Keeps which address was what, and when: addresses are used again."""

    def __init__(self) -> None:
        self._modules: weakref.WeakSet[Any] = weakref.WeakSet()
        self.seen: dict[int, list[tuple[int, str]]] = {}
        """By address: when it was seen (microseconds of the wall clock), and what it was."""

    def see_module(self, module: Any) -> None:
        """Take note of a module that the script calls; its parameters are read now and at each step."""
        if module not in self._modules:
            self._modules.add(module)
            self._see_parameters(module)

    def see_gradients(self, optimizer: Any) -> None:
        """Take note of the gradients that an optimizer is about to use, and of all parameters as they are."""
        for module in list(self._modules):
            self._see_parameters(module)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._see(PARAMETERS, parameters)
        self._see(GRADIENTS, (parameter.grad for parameter in parameters))

    def see_states(self, optimizer: Any) -> None:
        """Take note of an optimizer's states."""
        self._see(OPTIMIZER_STATES, _tensors_in(list(optimizer.state.values())))

    def _see_parameters(self, module: Any) -> None:
        self._see(PARAMETERS, module.parameters())
        self._see(PARAMETERS, module.buffers())

    def _see(self, label: str, tensors: Iterable[Any]) -> None:
        now = time.time_ns() // 1000
        for tensor in tensors:
            address = _address(tensor)
            if address:
                self.seen.setdefault(address, []).append((now, label))


def _tensors_in(value: Any) -> Iterator[Any]:
    """Yield the tensors of an optimizer's state, however it is nested."""
    if hasattr(value, "untyped_storage"):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)


def _address(tensor: Any) -> int:
    """Return the address of a tensor's memory on a GPU, or 0."""
    if tensor is None:
        return 0
    tensor = getattr(tensor, "_local_tensor", tensor)  # of a DTensor, this rank's part
    try:
        return tensor.untyped_storage().data_ptr() if tensor.is_cuda else 0
    except (RuntimeError, NotImplementedError):  # a subclass without memory of its own
        return 0
