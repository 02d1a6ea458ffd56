"""`trace`: executes the training step of a spec on fake tensors, and returns its ledger."""

from __future__ import annotations

import contextlib
import gc
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from estimators.ledger import Ledger, Owner
from estimators.symbolic import autocast, softmax
from estimators.symbolic.attention import CudaAttention
from estimators.symbolic.builder import LedgerBuilder, module_paths
from estimators.symbolic.device import symbolic_device
from estimators.symbolic.flash_attention import flash_attention
from estimators.symbolic.liger import liger
from estimators.symbolic.patches import as_on_cuda
from estimators.symbolic.recorder import Recorder
from profiler.errors import NotPossibleError
from profiler.measurement import Phase
from profiler.parameters import count_parameters
from profiler.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estimators.target import Target
    from profiler.spec import TrialSpec


def trace(
    spec: TrialSpec,
    target: Target,
    *,
    steps: int,
    on_error: Callable[[BaseException], None] = lambda _error: None,
) -> Ledger:
    """Execute loading and the first steps of a trial symbolically.

    Args:
        spec: The trial; the very workload that a measurement runs is built and run.
        target: The GPU whose kernels are assumed.
        steps: Number of optimizer steps; `tracer.steps_of` says how many tell the peak.
        on_error: Is told of an exception in backward, which aborts the process as it leaves autograd.

    Raises:
        NotPossibleError: If a library refuses the combination, or a value decides that only a run can tell.
    """
    return _Trace(spec, target, on_error).run(steps)


class _Trace:
    """One symbolic execution."""

    def __init__(self, spec: TrialSpec, target: Target, on_error: Callable[[BaseException], None]) -> None:
        self._spec = spec
        self._device = symbolic_device()
        self._builder = LedgerBuilder()
        self._target = target
        self._fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._recorder = Recorder(self._fake_mode, self._builder, target, on_error)
        self._kernels: set[str] = set()
        self._step = 0
        self._ended = 0
        autocast.register(target)
        if not target.is_cpu:
            softmax.register()

    def run(self, steps: int) -> Ledger:
        if self._target.is_cpu and self._spec.quantization != "none":
            raise NotPossibleError("quantised weights are predicted for GPUs only")
        spec, chosen = self._spec, self._kernels.add
        with (
            warnings.catch_warnings(action="ignore"),
            _without_garbage_collection(),
            torch.autograd.set_multithreading_enabled(False),  # one thread sees everything in order
            as_on_cuda(
                self._target,
                self._builder.empty_cache,
                is_quantized=spec.quantization != "none",
                is_paged=spec.optimizer.startswith("paged-"),
            ),
            CudaAttention(self._target, chosen).in_place(),
            flash_attention(self._target, chosen),
            liger(),
            self._fake_mode,
            self._recorder,
        ):
            torch.manual_seed(0)  # layers that are dropped by chance are the same in every trace
            workload = Workload(self._spec, self._device, empty_cache=self._builder.empty_cache)
            self._own_parameters(workload.model)
            if _has_experts(workload.config):
                self._builder.assumptions.append(
                    "experts run as grouped products, whose memory does not depend on the routing"
                )
            self._ended = self._builder.tensors
            with module_paths(workload.model, self._builder):
                self._run_steps(workload, steps)
            parameters = count_parameters(workload.model)
        self._builder.facts |= {**parameters, "attention_kernels": sorted(self._kernels)}
        return self._builder.build()

    def _run_steps(self, workload: Workload, steps: int) -> None:
        head = _head_paths(workload.model)

        @contextlib.contextmanager
        def watch(phase: Phase) -> Iterator[None]:
            first = self._builder.tensors
            if phase in (Phase.FORWARD, Phase.EVALUATION):  # what was made since the last phase is its batch
                self._builder.own(iter(range(self._ended, first)), Owner.INPUTS)
            self._builder.mark(phase, step=self._step)
            yield
            self._ended = self._builder.tensors
            if phase is Phase.FORWARD:
                self._builder.keep_activations(first, head)
            elif phase is Phase.BACKWARD:
                gradients = (parameter.grad for parameter in workload.model.parameters())
                self._own((gradient for gradient in gradients if gradient is not None), Owner.GRADIENTS)
            elif phase is Phase.OPTIMIZER:
                self._own(_states(workload.optimizer), Owner.OPTIMIZER)

        for self._step in range(steps):
            workload.step(self._step, watch)
            gc.collect()
        if self._spec.evaluation_batch_size is not None:
            workload.evaluate(watch)
        if self._spec.save:
            self._builder.assumptions.append(
                "saving copies one tensor at a time to the host, and takes no GPU memory"
            )

    def _own_parameters(self, model: Any) -> None:
        self._builder.own_all(Owner.WEIGHTS)
        adapter = (
            tensor
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]
            if "default" in name.split(".") or (tensor.requires_grad and hasattr(model, "peft_config"))
        )
        self._own(adapter, Owner.ADAPTER)

    def _own(self, tensors: Iterator[torch.Tensor], owner: Owner) -> None:
        self._builder.own((self._recorder.number_of(tensor) for tensor in tensors), owner)


def _has_experts(config: Any) -> bool:
    text = config.get_text_config()
    return any(
        (getattr(text, name, None) or 0) > 1
        for name in ("num_experts", "num_local_experts", "n_routed_experts")
    )


def _states(optimizer: Any) -> Iterator[torch.Tensor]:
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                yield value


def _head_paths(model: Any) -> set[str]:
    """Return the modules whose outputs are logits or loss: the output embedding, and all that wraps it."""
    output = getattr(model, "get_output_embeddings", lambda: None)()
    paths = {path for path, module in model.named_modules() if module is output}
    wrappers = {""}
    for path in paths:
        parts = path.split(".")
        wrappers |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return paths | wrappers


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collect cycles between steps only: a collection inside one would free tensors at a place of chance."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
