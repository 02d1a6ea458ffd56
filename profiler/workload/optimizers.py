"""The optimizer of a trial, built as HF Trainer or peft would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from profiler.spec import TrialSpec

LEARNING_RATE = 1e-5  # small enough that random weights on random data stay finite; it costs nothing


def build_optimizer(model: Any, spec: TrialSpec) -> Any:
    """Build the optimizer over the trainable parameters.

    Raises:
        NotPossibleError: If it needs a library that is missing, or a method it does not fit.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        return _BUILDERS[spec.optimizer](model, trainable, spec)
    except (ImportError, ValueError, TypeError, NotImplementedError) as error:
        raise NotPossibleError(f"optimizer {spec.optimizer} cannot be built: {error}") from None


def _torch(name: str, **settings: Any) -> Callable[..., Any]:
    def build(model: Any, trainable: list[Any], spec: TrialSpec) -> Any:
        return getattr(torch.optim, name)(trainable, lr=LEARNING_RATE, **settings)

    return build


def _bitsandbytes(name: str, **settings: Any) -> Callable[..., Any]:
    def build(model: Any, trainable: list[Any], spec: TrialSpec) -> Any:
        try:
            import bitsandbytes
        except ImportError:
            raise NotPossibleError(
                f"optimizer {spec.optimizer} needs bitsandbytes (the extra 'quant')"
            ) from None
        return getattr(bitsandbytes.optim, name)(trainable, lr=LEARNING_RATE, **settings)

    return build


def _adafactor(model: Any, trainable: list[Any], spec: TrialSpec) -> Any:
    from transformers.optimization import Adafactor

    # HF Trainer's settings for optim="adafactor" (transformers/trainer_optimizer.py, 5.23.0).
    return Adafactor(trainable, lr=LEARNING_RATE, scale_parameter=False, relative_step=False)


def _lora_fa(model: Any, trainable: list[Any], spec: TrialSpec) -> Any:
    from peft.optimizers import create_lorafa_optimizer

    config = _lora_config(model, spec)
    return create_lorafa_optimizer(model=model, r=config.r, lora_alpha=config.lora_alpha, lr=LEARNING_RATE)


def _lora_plus(model: Any, trainable: list[Any], spec: TrialSpec) -> Any:
    from peft.optimizers import create_loraplus_optimizer

    _lora_config(model, spec)
    return create_loraplus_optimizer(
        model=model, optimizer_cls=torch.optim.AdamW, lr=LEARNING_RATE, loraplus_lr_ratio=16
    )


def _lora_config(model: Any, spec: TrialSpec) -> Any:
    if spec.method != "lora":
        raise NotPossibleError(f"optimizer {spec.optimizer} trains LoRA adapters, not method {spec.method}")
    return model.peft_config["default"]


_BUILDERS: dict[str, Callable[..., Any]] = {
    "adamw": _torch("AdamW"),
    "adamw-fused": _torch("AdamW", fused=True),
    "sgd": _torch("SGD"),
    "rmsprop": _torch("RMSprop"),
    "adafactor": _adafactor,
    "adamw-8bit": _bitsandbytes("AdamW8bit"),
    "paged-adamw": _bitsandbytes("PagedAdamW32bit"),
    "paged-adamw-8bit": _bitsandbytes("PagedAdamW8bit"),
    "lion": _bitsandbytes("Lion32bit"),
    "lion-8bit": _bitsandbytes("Lion8bit"),
    "lora-fa": _lora_fa,
    "lora-plus": _lora_plus,
}
