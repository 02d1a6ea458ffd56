"""Trainers that can be asked to end: they are, and the rest of the script then runs as it would."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from .stopping import EVALUATION_FORWARDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from .events import Events
    from .imports import ImportHooks
    from .stopping import StepCount
    from .torch_hooks import TorchHooks

_LIGHTNING = ("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer")


def guard_trainers(imports: ImportHooks, steps: StepCount, hooks: TorchHooks, events: Events) -> None:
    """Ask Hugging Face's and Lightning's trainers to end when there are enough steps."""
    guard = _TrainerGuard(steps, hooks, events)
    imports.after("transformers.trainer", guard.guard_transformers)
    for name in _LIGHTNING:
        imports.after(name, guard.guard_lightning)


class _TrainerGuard:
    def __init__(self, steps: StepCount, hooks: TorchHooks, events: Events) -> None:
        self._steps, self._hooks, self._events = steps, hooks, events

    def guard_transformers(self, module: ModuleType) -> None:
        trainer, steps = module.Trainer, self._steps
        real_train, real_evaluation = trainer.train, trainer.evaluation_loop

        class StopCallback(module.TrainerCallback):  # type: ignore[name-defined,misc]
            """Ends training; what the real run would evaluate and save at some step happens at the last."""

            def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
                if steps.is_enough:
                    control.should_training_stop = True
                    control.should_evaluate |= str(args.eval_strategy.value) != "no"
                    control.should_save |= str(args.save_strategy.value) != "no"

        @functools.wraps(real_train)
        def train(self_: Any, *arguments: Any, **named: Any) -> Any:
            self._hooks.leave_stopping_to_trainer()
            self._events.write("trainer", name="transformers.Trainer")
            if not any(isinstance(known, StopCallback) for known in self_.callback_handler.callbacks):
                self_.add_callback(StopCallback)
            return real_train(self_, *arguments, **named)

        @functools.wraps(real_evaluation)
        def evaluation_loop(self_: Any, dataloader: Any, *arguments: Any, **named: Any) -> Any:
            return real_evaluation(self_, _FirstBatches(dataloader), *arguments, **named)

        trainer.train, trainer.evaluation_loop = train, evaluation_loop

    def guard_lightning(self, module: ModuleType) -> None:
        trainer, steps = module.Trainer, self._steps
        real_fit = trainer.fit

        @functools.wraps(real_fit)
        def fit(self_: Any, *arguments: Any, **named: Any) -> Any:
            self._hooks.leave_stopping_to_trainer()
            self._events.write("trainer", name="lightning.Trainer")
            root = module.__name__.removesuffix(".trainer.trainer")
            import importlib

            base = importlib.import_module(f"{root}.callbacks").Callback

            class StopCallback(base):  # type: ignore[misc,valid-type]
                def on_train_batch_end(self, trainer: Any, *arguments: Any, **named: Any) -> None:
                    if steps.is_enough:
                        trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
                        trainer.should_stop = True

            self_.callbacks.append(StopCallback())
            for name in ("limit_val_batches", "limit_test_batches", "limit_predict_batches"):
                if getattr(self_, name, 0) not in (0, 0.0):
                    setattr(self_, name, EVALUATION_FORWARDS)
            return real_fit(self_, *arguments, **named)

        trainer.fit = fit


class _FirstBatches:
    """The first batches of a data loader, which is otherwise as it was."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self._loader), EVALUATION_FORWARDS)

    def __len__(self) -> int:
        return min(len(self._loader), EVALUATION_FORWARDS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
