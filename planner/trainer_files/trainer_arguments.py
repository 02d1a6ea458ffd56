"""Keys of transformers' TrainingArguments, which LLaMA-Factory and TRL take too.

Names and defaults: transformers/training_args.py, 5.23.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.trainer_files.rules import NotUnderstood, Reading, Rule, plain
from profiler.trainer_spec import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.trainer_files.rules import Edit
    from planner.trainer_files.values import Values
    from profiler.spec import TrialSpec

DEFAULT_OPTIMIZER = "adamw_torch_fused"  # for torch 2.8 and later

BATCH = plain(
    "batch_size", "per_device_train_batch_size", lambda values: values.whole("per_device_train_batch_size", 8)
)
ACCUMULATION = plain(
    "gradient_accumulation",
    "gradient_accumulation_steps",
    lambda values: values.whole("gradient_accumulation_steps", 1),
)
MAX_GRAD_NORM = plain("max_grad_norm", "max_grad_norm", lambda values: values.number("max_grad_norm", 1.0))
EMPTY_CACHE = plain(
    "empty_cache_every",
    "torch_empty_cache_steps",
    lambda values: values.whole("torch_empty_cache_steps", 0, least=0),
)
# The Trainer sets model.config.use_cache to this argument (transformers/trainer.py, 5.23.0).
USE_CACHE = plain("use_cache", "use_cache", lambda values: values.flag("use_cache"))


def optimizer_rule(key: str, *, lora_plus: bool = False) -> Rule:
    """Return the rule of the optimizer.

    Args:
        key: The key that names it.
        lora_plus: Whether `loraplus_lr_ratio` makes it LoRA+.
    """
    ratio = "loraplus_lr_ratio"

    def read(values: Values) -> Reading:
        name = values.text(key, DEFAULT_OPTIMIZER)
        optimizer, strange = OPTIMIZERS.get(name), []
        if optimizer is None:
            optimizer = OPTIMIZERS[DEFAULT_OPTIMIZER]
            strange.append(NotUnderstood(key=key, reason=f"{name} is not modelled; {optimizer} is assumed"))
        if lora_plus and values.number(ratio, 0):
            if optimizer in ("adamw", "adamw-fused"):
                optimizer = "lora-plus"
            else:
                reason = f"LoRA+ is modelled with AdamW only; {optimizer} is assumed"
                strange.append(NotUnderstood(key=ratio, reason=reason))
        return Reading(settings={"optimizer": optimizer}, not_understood=tuple(strange))

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        for name, optimizer in OPTIMIZERS.items():
            if optimizer == spec.optimizer:
                yield {key: name, ratio: None} if lora_plus else {key: name}
        if lora_plus and spec.optimizer == "lora-plus":
            yield {key: "adamw_torch", ratio: 16.0}  # the ratio that the LoRA+ paper recommends

    keys = (key, ratio) if lora_plus else (key,)
    return Rule(fields=("optimizer",), keys=keys, read=read, propose=propose)


def checkpointing_rule(*, default: bool) -> Rule:
    """Return the rule of gradient checkpointing, which has an old and a new name."""
    names = ("activation_checkpointing", "gradient_checkpointing")
    keywords = tuple(f"{name}_kwargs" for name in names)

    def read(values: Values) -> Reading:
        is_on = values.flag(values.first(*names), default)
        key = values.first(*keywords)
        given = values.mapping(key)
        # Without a value, 5.23.0 checkpoints without re-entering (transformers/modeling_utils.py).
        reentrant = given.get("use_reentrant", False)
        if not isinstance(reentrant, bool):
            raise values.wrong(key, "a mapping in which use_reentrant is true or false")
        strange: tuple[NotUnderstood, ...] = ()
        if is_on and (given.get("offload") or given.get("every_n_layers", 1) != 1):
            reason = "only use_reentrant is modelled: every layer is checkpointed, on the GPU"
            strange = (NotUnderstood(key=key, reason=reason),)
        settings = {"gradient_checkpointing": "full" if is_on else "none", "reentrant": is_on and reentrant}
        return Reading(settings=settings, not_understood=strange)

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        # Where neither is said, the old name: transformers before 5.23 knows only that.
        name = names[0] if names[0] in values else names[1]
        given = values.first(f"{name}_kwargs", *keywords)
        yield {
            given: {**values.mapping(given), "use_reentrant": spec.reentrant},
            name: spec.gradient_checkpointing == "full",
        }

    return Rule(
        fields=("gradient_checkpointing", "reentrant"), keys=(*names, *keywords), read=read, propose=propose
    )


_COMPILE_KEYS = ("torch_compile_backend", "torch_compile_mode")


def _read_compile(values: Values) -> Reading:
    # A backend or a mode turns it on, too.
    is_on = values.flag("torch_compile") or any(key in values for key in _COMPILE_KEYS)
    return Reading(settings={"compile": is_on})


def _propose_compile(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    off = {"torch_compile": False, **dict.fromkeys(_COMPILE_KEYS)}
    yield {"torch_compile": True} if spec.compile else off


COMPILE = Rule(
    fields=("compile",),
    keys=("torch_compile", *_COMPILE_KEYS),
    read=_read_compile,
    propose=_propose_compile,
)

LIGER_NOTE = (
    "Liger also replaces norms, rotary embeddings and activations; the figures count its fused loss only."
)


def _read_evaluation(values: Values) -> Reading:
    strategy = values.text(values.first("eval_strategy", "evaluation_strategy"), "no")
    if strategy == "no" and not values.flag("do_eval") and not values.flag("eval_on_start"):
        return Reading()
    return Reading(settings={"evaluation_batch_size": values.whole("per_device_eval_batch_size", 8)})


def _propose_evaluation(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    if spec.evaluation_batch_size is None:
        strategy = values.first("eval_strategy", "evaluation_strategy")
        yield {strategy: "no", "do_eval": False, "eval_on_start": False}
    else:
        yield {"per_device_eval_batch_size": spec.evaluation_batch_size}


EVALUATION = Rule(
    fields=("evaluation_batch_size",),
    keys=("eval_strategy", "evaluation_strategy", "do_eval", "eval_on_start", "per_device_eval_batch_size"),
    read=_read_evaluation,
    propose=_propose_evaluation,
)
