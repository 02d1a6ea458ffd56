"""`LedgerBuilder`: takes down allocations, operators and phases while a trial is executed symbolically."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from estimators.allocator import EMPTY_CACHE
from estimators.ledger import Ledger, Mark, Operators, Owner
from profiler.measurement import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator


class LedgerBuilder:
    """Collects what a `Ledger` holds, in plain lists."""

    def __init__(self) -> None:
        self.assumptions: list[str] = []
        self.facts: dict[str, Any] = {}
        self.depends_on_sm_count = False
        self._events: list[int] = []
        self._sizes: list[int] = []
        self._owners: list[int] = []
        self._tensor_modules: list[int] = []
        self._alive: set[int] = set()
        self._workspaces: set[bool] = set()
        self._marks: list[Mark] = []
        self._phase, self._step = Phase.LOAD, 0
        self._modules: dict[str, int] = {"": 0}
        self._module_stack: list[int] = [0]
        self._module_of_node: dict[int, int] = {}
        self._last_node = -1
        self._names: dict[str, int] = {}
        self._operators: list[tuple[int, int, int, int, int, int, bool]] = []
        self.mark(Phase.LOAD, step=0)

    # What happens to memory.

    def allocate(self, size: int, owner: Owner = Owner.TEMPORARY) -> int:
        """Note the birth of a tensor of `size` bytes; return its number."""
        number = len(self._sizes)
        self._sizes.append(size)
        self._owners.append(owner)
        self._tensor_modules.append(self._module())
        self._events.append(number)
        self._alive.add(number)
        return number

    def free(self, number: int) -> None:
        """Note the death of a tensor."""
        self._alive.discard(number)
        self._events.append(~number)

    def transient(self, *sizes: int) -> None:
        """Note buffers that live only inside an operator, together."""
        for number in [self.allocate(size) for size in sizes]:
            self.free(number)

    def need_workspace(self, size: int) -> None:
        """Note cuBLAS's workspace at its first use: one for forward, one for the thread of backward."""
        is_backward = self._phase is Phase.BACKWARD
        if is_backward not in self._workspaces:
            self._workspaces.add(is_backward)
            self.allocate(size, Owner.WORKSPACE)

    def empty_cache(self) -> None:
        """Note a call of `torch.cuda.empty_cache`."""
        self._events.append(EMPTY_CACHE)

    # Where it happens.

    def mark(self, phase: Phase, *, step: int) -> None:
        """Note that a phase begins."""
        self._phase, self._step = phase, step
        self._marks.append(Mark(event=len(self._events), phase=phase, step=step))

    def enter_module(self, path: str) -> None:
        """Note that the forward of a module begins."""
        self._module_stack.append(self._modules.setdefault(path, len(self._modules)))

    def leave_module(self) -> None:
        """Note that it ends."""
        if len(self._module_stack) > 1:
            self._module_stack.pop()

    def _module(self) -> int:
        """Return the module at work: in backward, the one whose forward made the node that runs."""
        if len(self._module_stack) > 1 or self._phase is not Phase.BACKWARD:
            return self._module_stack[-1]
        node = torch._C._current_autograd_node()
        return 0 if node is None else self._module_of_node.get(node._sequence_nr(), 0)

    def note_node(self) -> None:
        """Note the module of the node that autograd made for an operator, if it made one.

        Nodes are numbered as they are made, and the one of this operator has the number before the next.
        """
        number = torch._C._autograd._get_sequence_nr() - 1
        if number > self._last_node:
            self._last_node = number
            if len(self._module_stack) > 1:
                self._module_of_node[number] = self._module_stack[-1]

    def operator(self, name: str, *, flops: int, bytes_read: int, bytes_written: int, is_16bit: bool) -> None:
        """Note an operator."""
        module = self._module()
        index = self._names.setdefault(name, len(self._names))
        mark = len(self._marks) - 1
        self._operators.append((index, module, mark, flops, bytes_read, bytes_written, is_16bit))

    # What it is for.

    def own(self, numbers: Iterator[int | None], owner: Owner) -> None:
        """Say what tensors are for; None is a tensor without storage here."""
        for number in numbers:
            if number is not None:
                self._owners[number] = owner

    def own_all(self, owner: Owner) -> None:
        """Say what all tensors so far are for that nothing else was said of."""
        self._owners = [owner if said == Owner.TEMPORARY else said for said in self._owners]

    def keep_activations(self, since: int, head: set[str]) -> None:
        """Say that what forward left alive is kept for backward: activations, or logits and loss."""
        heads = {index for path, index in self._modules.items() if path in head}
        for number in self._alive:
            if number >= since and self._owners[number] == Owner.TEMPORARY:
                is_head = self._tensor_modules[number] in heads
                self._owners[number] = Owner.LOGITS_AND_LOSS if is_head else Owner.ACTIVATIONS

    @property
    def is_loading(self) -> bool:
        """Whether the first step has not begun."""
        return self._phase is Phase.LOAD

    @property
    def is_in_backward(self) -> bool:
        """Whether the phase at work is backward."""
        return self._phase is Phase.BACKWARD

    @property
    def tensors(self) -> int:
        """Number of tensors born so far."""
        return len(self._sizes)

    def assumed_scalar(self, tensor: torch.Tensor) -> float:
        """Answer a library's question about a value that nothing is known of.

        The questions met are whether something is infinite, overflowed, or out of range: the answer is no.
        """
        if self._phase is not Phase.LOAD and not tensor.is_floating_point():
            self.assumptions.append(f"where {self._phase} looks at values on the GPU, none is special")
        if tensor.dtype is torch.bool:
            return False
        return 0.0 if tensor.is_floating_point() else 0

    def build(self) -> Ledger:
        """Return the ledger."""
        columns = list(zip(*self._operators, strict=True)) or [()] * 7
        name, module, mark, flops, read, written, is_16bit = (np.asarray(column) for column in columns)
        return Ledger(
            events=np.asarray(self._events, dtype=np.int32),
            sizes=np.asarray(self._sizes, dtype=np.int64),
            owners=np.asarray(self._owners, dtype=np.uint8),
            tensor_modules=np.asarray(self._tensor_modules, dtype=np.int32),
            modules=tuple(self._modules),
            marks=tuple(self._marks),
            operators=Operators(
                name=name, module=module, mark=mark, flops=flops, bytes_read=read, bytes_written=written,
                is_16bit=is_16bit, names=tuple(self._names),
            ),
            facts={**self.facts, "depends_on_sm_count": self.depends_on_sm_count,
                   "assumptions": list(dict.fromkeys(self.assumptions))},
        )  # fmt: skip


@contextlib.contextmanager
def module_paths(model: torch.nn.Module, builder: LedgerBuilder) -> Iterator[None]:
    """Tell the builder which module's forward runs."""
    paths = {id(module): path for path, module in model.named_modules()}

    def enter(module: torch.nn.Module, inputs: object) -> None:
        builder.enter_module(paths.get(id(module), ""))

    def leave(module: torch.nn.Module, inputs: object, output: object) -> None:
        builder.leave_module()

    hooks = [
        torch.nn.modules.module.register_module_forward_pre_hook(enter),
        torch.nn.modules.module.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
