"""The TrialSpec of an HF Trainer run that is already going: read off its model and arguments."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.normalize import task_of_class

if TYPE_CHECKING:
    from collections.abc import Sequence

# Values of TrainingArguments.optim and ours (transformers/training_args.py, OptimizerNames, 5.23.0).
OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw-fused",
    "adamw_bnb_8bit": "adamw-8bit",
    "adamw_8bit": "adamw-8bit",
    "paged_adamw_32bit": "paged-adamw",
    "paged_adamw": "paged-adamw",
    "paged_adamw_8bit": "paged-adamw-8bit",
    "adafactor": "adafactor",
    "lion_32bit": "lion",
    "lion_8bit": "lion-8bit",
    "sgd": "sgd",
    "rmsprop": "rmsprop",
}
# Values of attn_implementation and ours; sdpa is what transformers takes unless told otherwise.
ATTENTION = {"eager": "eager", "flash_attention_2": "flash-attention-2"}


def spec_of_run(model: Any, args: Any, lengths: Sequence[int]) -> TrialSpec:
    """Return the spec that comes nearest to a run.

    Args:
        model: What the Trainer trains, with or without a PEFT wrapper.
        args: Its TrainingArguments.
        lengths: Padded length of each micro-batch that was trained on.

    Raises:
        UsageError: If the run has something that no field of a spec can say, such as an unknown optimizer.
    """
    if args.world_size > 1 or args.n_gpu > 1:
        raise UsageError("the run trains on several devices, which no row of one device can say")
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    settings: dict[str, Any] = {
        "model": _model_name(base),
        "task": _task(base),
        "precision": precision_of(base.dtype, args),
        "attention": ATTENTION.get(base.config._attn_implementation, "auto"),
        **settings_of_arguments(args),
        **_method(model, base),
        **_quantization(base),
        **_lengths(lengths),
    }
    return TrialSpec.parse(settings, subject="the Trainer's run")


def settings_of_arguments(args: Any) -> dict[str, Any]:
    """Return the settings that TrainingArguments alone decide.

    Raises:
        UsageError: If the optimizer is none that a trial can have.
    """
    return {
        "optimizer": _optimizer(args),
        "batch_size": args.per_device_train_batch_size,
        "gradient_accumulation": args.gradient_accumulation_steps,
        "gradient_checkpointing": "full" if args.gradient_checkpointing else "none",
        "reentrant": bool((args.gradient_checkpointing_kwargs or {}).get("use_reentrant", False)),
        "max_grad_norm": float(args.max_grad_norm or 0.0),
        "compile": bool(args.torch_compile),
        "loop": "trainer",
        "loss_kernel": "liger" if args.use_liger_kernel else "standard",
        "empty_cache_every": args.torch_empty_cache_steps or 0,
    }


def precision_of(dtype: Any, args: Any) -> str:
    """Return the precision of a run: that of its weights, such as `bfloat16`, and its arguments' autocast."""
    dtype = str(dtype).removeprefix("torch.")
    if args.bf16 or args.fp16:
        autocast = "bf16" if args.bf16 else "fp16"
        return f"amp-{autocast}" if dtype == "float32" else autocast
    return {"bfloat16": "bf16", "float16": "fp16"}.get(dtype, "fp32")


def _model_name(base: Any) -> str:
    """Return the model's name; one without is told from others of its type by a hash of its configuration."""
    if name := getattr(base.config, "_name_or_path", ""):
        return str(name)
    digest = hashlib.sha256(base.config.to_json_string().encode()).hexdigest()[:8]
    return f"unnamed/{base.config.model_type}-{digest}"


def _task(base: Any) -> str:
    name = type(base).__name__
    if (task := task_of_class(name)) is None:
        raise UsageError(f"{name} trains no task that a trial can have")
    return task


def _optimizer(args: Any) -> str:
    name = getattr(args.optim, "value", args.optim)
    if name not in OPTIMIZERS:
        raise UsageError(f"optimizer {name} is none that a trial can have")
    return OPTIMIZERS[name]


def _method(model: Any, base: Any) -> dict[str, Any]:
    configs = getattr(model, "peft_config", None)
    if not configs:
        if not all(p.requires_grad for p in base.parameters()):
            raise UsageError("a model that is frozen in parts by hand is none that a trial can have")
        return {"method": "full"}
    config = next(iter(configs.values()))
    defaults = type(config)()
    options = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in vars(config).items()
        if name in _OPTIONS and value != getattr(defaults, name, None)
    }
    return {"method": str(config.peft_type.value).lower().replace("_", "-"), "method_options": options}


# Options that decide what a step costs and whose values are plain.
_OPTIONS = {"r", "lora_alpha", "lora_dropout", "target_modules", "use_dora", "use_rslora", "bias",
            "num_virtual_tokens", "modules_to_save", "block_size", "encoder_hidden_size"}  # fmt: skip


def _quantization(base: Any) -> dict[str, Any]:
    config = getattr(base.config, "quantization_config", None)
    if config is None:
        return {}
    if getattr(config, "load_in_8bit", False):
        return {"quantization": "int8"}
    if getattr(config, "load_in_4bit", False):
        return {
            "quantization": config.bnb_4bit_quant_type,
            "double_quant": bool(config.bnb_4bit_use_double_quant),
        }
    raise UsageError(f"quantisation {type(config).__name__} is none that a trial can have")


def _lengths(lengths: Sequence[int]) -> dict[str, Any]:
    if not lengths:
        return {}
    if len(set(lengths)) == 1:
        return {"sequence_length": lengths[0]}
    return {"lengths": dict(sorted(Counter(lengths).items()))}
