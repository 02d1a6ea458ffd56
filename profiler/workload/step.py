"""`Workload`: model, method, optimizer and loop of a trial, one optimizer step at a time."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from profiler.errors import NotPossibleError
from profiler.measurement import Phase
from profiler.workload.batches import Batches
from profiler.workload.liger import apply_liger
from profiler.workload.methods import after_optimizer_step, apply_method
from profiler.workload.model import autocast_dtype, build_model
from profiler.workload.optimizers import build_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from profiler.devices.protocol import Watch
    from profiler.spec import TrialSpec

_SDPA_BACKENDS = {
    "sdpa-math": "MATH",
    "sdpa-efficient": "EFFICIENT_ATTENTION",
    "sdpa-flash": "FLASH_ATTENTION",
}


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """What one optimizer step trained on."""

    samples: int
    tokens: int | None
    tokens_nonpad: int | None


class Workload:
    """The training step of a spec on one device.

    Args:
        spec: What to build.
        device: Where; the caller decides what a device means, this builds the same step on each.
        empty_cache: Empties the device's cache of memory, where it has one; for `empty_cache_every`.

    Raises:
        NotPossibleError: If a library refuses the combination, with its reason.
    """

    def __init__(
        self, spec: TrialSpec, device: torch.device, *, empty_cache: Callable[[], None] = lambda: None
    ) -> None:
        if spec.parallel != "none":
            raise NotPossibleError(
                f"parallel {spec.parallel} cannot be measured yet: it needs several devices"
            )
        self.spec = spec
        self.device = device
        model = build_model(spec, device)
        self.config = model.config
        model = apply_method(model, spec)
        if spec.loss_kernel == "liger":
            apply_liger(model, device)
        self.model = model.train()
        self.optimizer = build_optimizer(model, spec)
        self._forward = torch.compile(model) if spec.compile else model
        self._after_step = after_optimizer_step(model, spec)
        self._scaler = torch.amp.GradScaler(device.type) if spec.precision == "amp-fp16" else None
        self._batches = Batches(spec, self.config)
        self._empty_cache = empty_cache
        self._outputs: Any = None

    def step(self, index: int, watch: Watch) -> StepCount:
        """Run one optimizer step, telling `watch` each phase as it begins and ends.

        `loop: trainer` has HF Trainer's lifetimes: the outputs are dropped before backward, and gradients
        after the optimizer. `loop: raw` is the plain loop: gradients go at the start of the next step, and
        the outputs stay alive until the next forward has replaced them. `loop: function` is the plain loop
        with its step in a function: the outputs stay alive until the step ends.
        """
        spec, batches = self.spec, []
        keeps_outputs = spec.loop != "trainer"
        if keeps_outputs:
            self.optimizer.zero_grad()
        with _attention_kernel(spec):
            for micro_batch in range(spec.gradient_accumulation):
                batch = self._batches.batch(index, micro_batch)
                batches.append(batch)
                inputs = batch.to(self.device)
                with watch(Phase.FORWARD):
                    with self._autocast():
                        outputs = self._forward(**inputs)
                    loss = outputs.loss / spec.gradient_accumulation
                    self._outputs = outputs if keeps_outputs else None
                    del outputs, inputs
                with watch(Phase.BACKWARD):
                    (self._scaler.scale(loss) if self._scaler else loss).backward()
                del loss
        with watch(Phase.OPTIMIZER):
            self._update(index)
            if not keeps_outputs:
                self.optimizer.zero_grad()
        if spec.loop == "function":
            self._outputs = None
        if spec.empty_cache_every and (index + 1) % spec.empty_cache_every == 0:
            self._empty_cache()
        return StepCount(
            samples=sum(batch.samples for batch in batches),
            tokens=_total([batch.tokens for batch in batches]),
            tokens_nonpad=_total([batch.tokens_nonpad for batch in batches]),
        )

    def _update(self, index: int) -> None:
        if self.spec.max_grad_norm:
            if self._scaler:
                self._scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.max_grad_norm)
        if self._scaler:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        else:
            self.optimizer.step()
        if self._after_step:
            self._after_step(index)

    def rest(self) -> None:
        """Drop what a step left behind that the next would replace: gradients and kept outputs."""
        self._outputs = None
        self.optimizer.zero_grad()

    def evaluate(self, watch: Watch) -> None:
        """Run one evaluation forward with `evaluation_batch_size`."""
        batch = Batches(self.spec, self.config, batch_size=self.spec.evaluation_batch_size).batch(0)
        self.model.eval()
        with watch(Phase.EVALUATION), torch.no_grad(), _attention_kernel(self.spec), self._autocast():
            self._forward(**batch.to(self.device))
        self.model.train()

    def save(self, watch: Watch) -> None:
        """Save what was trained into a temporary folder, which is removed again."""
        with watch(Phase.SAVE), tempfile.TemporaryDirectory(prefix="sizeup-save-") as folder:
            self.model.save_pretrained(folder)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = autocast_dtype(self.spec)
        return torch.autocast(self.device.type, dtype=dtype) if dtype else contextlib.nullcontext()


def _attention_kernel(spec: TrialSpec) -> AbstractContextManager[Any]:
    if backend := _SDPA_BACKENDS.get(spec.attention):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        return sdpa_kernel(getattr(SDPBackend, backend))
    return contextlib.nullcontext()


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
