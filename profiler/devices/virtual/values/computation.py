"""An operator's integers, computed on the CPU and written where the GPU would have written them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from . import host, notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The CPU has these for floating-point data only.
_AS_FLOAT = ("histc",)


class Computation:
    """One operator of ATen on the CPU.

    Args:
        name: Its name with the overload, such as `add.Tensor`.
        note: What is assumed where the integers are made of floating-point data.
    """

    def __init__(self, name: str, note: str) -> None:
        self.name = name
        base, _, overload = name.partition(".")
        self.schema = torch._C._get_schema(f"aten::{base}", overload)
        self._note = note
        self._written = frozenset(
            key
            for position, argument in enumerate(self.schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
            for key in (position, argument.name)
        )
        self._draws = any(argument.name == "generator" for argument in self.schema.arguments)

    def result(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what the CPU's operator returns for the arguments of the GPU's; nothing is kept of it."""
        base, _, overload = self.name.partition(".")
        operator = getattr(getattr(torch.ops.aten, base), overload or "default")
        written = self._written
        stand_ins = [host.stand_in(value, is_written=at in written) for at, value in enumerate(args)]
        named = {key: host.stand_in(value, is_written=key in written) for key, value in kwargs.items()}
        if self._draws:
            named["generator"] = host.generator()
        if base in _AS_FLOAT:
            stand_ins[0] = stand_ins[0].double()
        with torch._C.DisableTorchFunction():  # a mode of the program is not to see this
            return operator(*stand_ins, **named)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors of the virtual GPU that are read; notes it where they hold no values."""
        tensors = []
        for key, value in (*enumerate(args), *kwargs.items()):
            if key not in self._written or not self.name.partition(".")[2].endswith("out"):
                tensors += _gpu_tensors(value)
        if any(tensor.dtype not in host.INTEGERS for tensor in tensors):
            notes.assume(self._note)
        return tensors

    def outputs(self, returned: Any, args: Sequence[Any]) -> list[torch.Tensor]:
        """Return the tensors with the results; an operator that returns nothing writes arguments."""
        if returned is None:
            return [value for at, value in enumerate(args) if at in self._written]
        return [returned] if isinstance(returned, torch.Tensor) else list(returned)

    def fill(self, outputs: Sequence[torch.Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Compute, and write the results that are integers into the outputs."""
        integers = [output for output in outputs if output.dtype in host.INTEGERS]
        if all(host.is_large(output) for output in integers):
            return
        try:
            read = self.read(args, kwargs)
            host.note_large(integers, read)
            if not self._written and any(map(host.is_large_itself, read)):
                # A reduction of what reads as 0, such as attention's mask for every head, takes a second.
                for output in integers:
                    host.clear(output)
                return
            results = self.result(args, kwargs)
            if self._written:
                return  # the CPU's operator wrote the same memory
            results = results if isinstance(results, tuple | list) else [results]
            for output, values in zip(outputs, results, strict=True):
                if output.dtype in host.INTEGERS:
                    host.write(output, values)
        except Exception as error:  # whatever the CPU cannot do: the program goes on, as it does on the GPU
            notes.not_computed(self.name.partition(".")[0], error)
            if not self._written:
                for output in integers:
                    host.clear(output)


def _gpu_tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [] if value.device.type == "cpu" else [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _gpu_tensors(item)]
    return []
