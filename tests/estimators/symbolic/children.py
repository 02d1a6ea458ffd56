"""What tests run in processes of their own (the fixture `in_child`): all that needs the symbolic device."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from estimators.symbolic import autocast, softmax
from estimators.symbolic.attention import CudaAttention
from estimators.symbolic.builder import LedgerBuilder
from estimators.symbolic.device import symbolic_device
from estimators.symbolic.memo import ShapeMemo
from estimators.symbolic.patches import as_on_cuda
from estimators.symbolic.recorder import Recorder
from estimators.symbolic.trace import trace
from tests.estimators.traces import A100

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.ledger import Ledger
    from estimators.target import Target
    from profiler.spec import TrialSpec


def traced(spec: TrialSpec, target: Target, remembers: bool) -> Ledger:
    """Trace here, with the memo or without."""
    with contextlib.ExitStack() as stack:
        if not remembers:
            run = lambda _memo, func, args, kwargs: func(*args, **kwargs)  # noqa: E731
            stack.enter_context(mock.patch.object(ShapeMemo, "run", run))
        return trace(spec, target, steps=2)


@contextlib.contextmanager
def recording(target: Target = A100) -> Iterator[tuple[LedgerBuilder, torch.device]]:
    """Record what is done on the symbolic device, as a trace does."""
    device = symbolic_device()
    autocast.register()
    softmax.register()
    builder = LedgerBuilder()
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)

    def raise_nothing(error: BaseException) -> None:
        del error

    with (
        warnings.catch_warnings(action="ignore"),
        torch.autograd.set_multithreading_enabled(False),
        as_on_cuda(builder.empty_cache, is_quantized=False),
        CudaAttention(target, lambda _name: None).in_place(),
        fake_mode,
        Recorder(fake_mode, builder, target, raise_nothing),
    ):
        yield builder, device


def names(ledger: Ledger) -> list[str]:
    """Return the names of the operators, in order."""
    assert ledger.operators is not None
    return [ledger.operators.names[name] for name in ledger.operators.name]


def run(program: Callable[[torch.device], Any], target: Target = A100) -> tuple[Any, list[str], list[int]]:
    """Run a program on the device; return its result, its operators, and the sizes of all tensors."""
    with recording(target) as (builder, device):
        result = program(device)
    ledger = builder.build()
    return result, names(ledger), ledger.sizes.tolist()
