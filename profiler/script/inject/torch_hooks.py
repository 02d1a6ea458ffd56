"""Where phases and steps begin and end: global hooks of torch, which see any loop."""

from __future__ import annotations

import functools
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from .stopping import EVALUATION_FORWARDS, StepCount, Stopped
from .timeline import BACKWARD, EVALUATION, FORWARD, OPTIMIZER, Timeline

if TYPE_CHECKING:
    from .allocator_peaks import AllocatorPeaks
    from .events import Events
    from .tensors import TensorLabels


class TorchHooks:
    """Follows modules, backward passes and optimizers.

    Args:
        timeline: Is told of each phase.
        peaks: The allocator's.
        steps: Counts the steps.
        labels: Is shown the tensors of models and optimizers.
        events: Takes each step.
    """

    def __init__(
        self,
        *,
        timeline: Timeline,
        peaks: AllocatorPeaks,
        steps: StepCount,
        labels: TensorLabels,
        events: Events,
    ) -> None:
        self._torch: Any = None
        self._timeline, self._peaks = timeline, peaks
        self._steps, self._labels, self._events = steps, labels, events
        self._outermost: Any = None
        self._trained: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_in_backward = False
        self._stepping: Any = None
        """The optimizer whose step is going on; with a closure, forward and backward happen within it."""
        self._stops_itself = False
        """Whether a trainer was asked to end, and the rest of the script is to run."""

    def watch(self, torch: Any) -> None:
        """Begin, once torch is imported."""
        self._torch = torch
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
        from torch.optim.optimizer import (
            register_optimizer_step_post_hook,
            register_optimizer_step_pre_hook,
        )

        # The hooks are ours, and keep nothing that a second call would spoil.
        warnings.filterwarnings("ignore", "Using `torch.compile.* when there are global hooks on modules")
        register_module_forward_pre_hook(self._enter_module)
        register_module_forward_hook(self._leave_module, always_call=True)
        register_optimizer_step_pre_hook(self._begin_optimizer)
        register_optimizer_step_post_hook(self._end_optimizer)
        self._wrap_backward()

    def leave_stopping_to_trainer(self) -> None:
        """Do not stop at a step: a trainer was asked to."""
        self._stops_itself = True

    def _enter_module(self, module: Any, arguments: Any) -> None:
        # torch.compile traces this and keeps nothing of it.
        if self._torch.compiler.is_compiling() or self._outermost is not None or self._is_in_backward:
            return
        if threading.current_thread() is not threading.main_thread():
            return
        # Without gradients and in eval mode a model that was trained is evaluated; one that never was (the
        # reference of DPO, a teacher, an inference script's) does its part of the step.
        is_evaluation = not self._torch.is_grad_enabled() and not module.training and module in self._trained
        if is_evaluation:
            self._enter_evaluation()
        elif self._torch.is_grad_enabled():
            if self._steps.is_enough and not self._stops_itself:
                raise Stopped(self._steps.reason)
            self._see_trained(module)
        self._outermost = module
        self._labels.see_module(module)
        if is_evaluation:
            self._timeline.begin(EVALUATION, step=self._steps.last)
        else:
            self._timeline.begin(FORWARD, step=self._steps.ended)

    def _see_trained(self, module: Any) -> None:
        while module is not None:
            self._trained.add(module)
            # What DDP, accelerate and torch.compile wrap is evaluated without them.
            module = getattr(module, "module", None) or getattr(module, "_orig_mod", None)
            if not isinstance(module, self._torch.nn.Module):
                break

    def _enter_evaluation(self) -> None:
        if self._steps.is_enough and not self._stops_itself:
            self._steps.evaluation_forwards += 1
            if self._steps.evaluation_forwards > EVALUATION_FORWARDS:
                raise Stopped(self._steps.reason)

    def _leave_module(self, module: Any, arguments: Any, result: Any) -> None:
        if self._torch.compiler.is_compiling():
            return
        if module is self._outermost:
            self._outermost = None

    def _begin_optimizer(self, optimizer: Any, arguments: Any, named: Any) -> None:
        if self._torch.compiler.is_compiling():
            return
        # A step that was compiled as a whole shows no modules.
        if self._steps.is_enough and not self._stops_itself:
            raise Stopped(self._steps.reason)
        self._outermost, self._stepping = None, optimizer
        self._labels.see_gradients(optimizer)
        # An optimizer that steps inside backward, as each gradient is there, belongs to backward.
        if not self._is_in_backward:
            self._timeline.begin(OPTIMIZER, step=self._steps.ended)

    def _end_optimizer(self, optimizer: Any, arguments: Any, named: Any) -> None:
        if self._torch.compiler.is_compiling():
            return
        self._stepping = None
        self._labels.see_states(optimizer)
        self._timeline.end()
        step = self._steps.ended
        if self._steps.end_step(id(optimizer), self._timeline.highest):
            allocated, reserved = self._peaks.current()
            self._events.write("step", step=step, resident_bytes=allocated, reserved_bytes=reserved)

    def _wrap_backward(self) -> None:
        backward = self._torch.autograd.backward

        @functools.wraps(backward)
        def watched(*arguments: Any, **named: Any) -> Any:
            if self._is_in_backward or self._torch.compiler.is_compiling():
                return backward(*arguments, **named)
            self._outermost = None  # a forward that ended by an error that the script handled
            self._timeline.begin(BACKWARD, step=self._steps.ended)
            self._is_in_backward = True
            try:
                return backward(*arguments, **named)
            finally:
                self._is_in_backward = False
                if self._stepping is not None:
                    self._labels.see_gradients(self._stepping)
                    self._timeline.begin(OPTIMIZER, step=self._steps.ended)

        self._torch.autograd.backward = watched
