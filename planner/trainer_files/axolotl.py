"""axolotl (`axolotl train FILE`), as YAML.

Sources: src/axolotl/utils/schemas/{config,training,peft}.py, utils/config/__init__.py, loaders/{model,
adapter}.py and core/builders/base.py of 2025 and 2026.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from planner.trainer_files import trainer_arguments as shared
from planner.trainer_files.adapters import Option, edit_options, read_options
from planner.trainer_files.hugging_face import ATTENTION_RULE
from planner.trainer_files.other_keys import other_keys
from planner.trainer_files.rules import Format, NotUnderstood, Reading, Rule, constant, model_rule, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.trainer_files.rules import Edit
    from planner.trainer_files.values import Values
    from profiler.spec import TrialSpec

_LORA = (
    Option(
        key="lora_r", name="r", read=lambda values: values.whole("lora_r", 8) if "lora_r" in values else None
    ),
    Option(
        key="lora_alpha",
        name="lora_alpha",
        read=lambda values: values.whole("lora_alpha", 8) if "lora_alpha" in values else None,
    ),
    Option(key="lora_dropout", name="lora_dropout", read=lambda values: values.number("lora_dropout", 0.0)),
    Option(
        key="lora_target_parameters",
        name="target_parameters",
        read=lambda values: values.words("lora_target_parameters"),
    ),
    Option(
        key="lora_modules_to_save",
        name="modules_to_save",
        read=lambda values: values.words("lora_modules_to_save"),
    ),
    Option(key="peft_use_dora", name="use_dora", read=lambda values: values.flag("peft_use_dora")),
    Option(key="peft_use_rslora", name="use_rslora", read=lambda values: values.flag("peft_use_rslora")),
    *(
        Option(key=key, name=name, read=operator.methodcaller("raw", key))
        for key, name in {
            "peft_layers_to_transform": "layers_to_transform",
            "peft_layers_pattern": "layers_pattern",
            "peft_layer_replication": "layer_replication",
            "peft_trainable_token_indices": "trainable_token_indices",
            "peft_ensure_weight_tying": "ensure_weight_tying",
            "lora_rank_pattern": "rank_pattern",
            "lora_alpha_pattern": "alpha_pattern",
            "lora_exclude_modules": "exclude_modules",
        }.items()
    ),
)
# What bnb_config_kwargs overrides (loaders/model.py).
_BITSANDBYTES = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
_KERNEL_NOTE = (
    "axolotl may train LoRA with kernels of its own (lora_mlp_kernel, lora_qkv_kernel, lora_o_kernel), which "
    "keep less than the figures assume."
)


def _read_method(values: Values) -> Reading:
    adapter = values.text("adapter", "") or "none"
    settings: dict[str, Any] = {"method": "full"}
    notes, strange = [], []
    if adapter in ("lora", "qlora"):
        options = read_options(values, "lora", _LORA)
        if values.flag("lora_target_linear"):
            options["target_modules"] = "all-linear"
        elif modules := values.words("lora_target_modules"):
            options["target_modules"] = modules
        settings = {"method": "lora", "method_options": options}
        notes.append(_KERNEL_NOTE)
    elif adapter != "none":
        reason = f"{adapter} is not modelled; training of every parameter is assumed"
        strange.append(NotUnderstood(key="adapter", reason=reason))
    is_8bit = values.flag("load_in_8bit")
    if is_8bit and (adapter == "qlora" or values.flag("load_in_4bit")):
        raise values.wrong("load_in_8bit", "false with adapter qlora or load_in_4bit")
    if is_8bit:
        settings["quantization"] = "int8"
    elif values.flag("load_in_4bit") or adapter == "qlora":
        given = {**_BITSANDBYTES, **values.mapping("bnb_config_kwargs")}
        settings["quantization"] = given["bnb_4bit_quant_type"]
        settings["double_quant"] = given["bnb_4bit_use_double_quant"]
        if settings["quantization"] not in ("nf4", "fp4") or not isinstance(settings["double_quant"], bool):
            expected = (
                "a mapping with bnb_4bit_quant_type nf4 or fp4, bnb_4bit_use_double_quant true or false"
            )
            raise values.wrong("bnb_config_kwargs", expected)
        if adapter != "qlora":
            strange.append(NotUnderstood(key="load_in_4bit", reason="adapter qlora is assumed"))
    return Reading(settings=settings, notes=tuple(notes), not_understood=tuple(strange))


def _propose_method(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    is_4bit = spec.quantization in ("nf4", "fp4")
    edit: Edit = {"load_in_4bit": is_4bit, "load_in_8bit": spec.quantization == "int8", "adapter": None}
    if is_4bit:
        given = values.mapping("bnb_config_kwargs")
        wanted = {"bnb_4bit_quant_type": spec.quantization, "bnb_4bit_use_double_quant": spec.double_quant}
        said = {key: value for key, value in wanted.items() if given.get(key, _BITSANDBYTES[key]) != value}
        edit["bnb_config_kwargs"] = {**given, **said} or None
    if spec.method == "lora":
        modules = spec.method_options.get("target_modules")
        if not modules:
            return  # axolotl refuses to leave the targets to peft
        edit |= edit_options("lora", spec.method_options, _LORA)
        is_all = modules == "all-linear"
        edit |= {
            "adapter": "qlora" if is_4bit else "lora",
            "lora_target_linear": is_all,
            "lora_target_modules": None if is_all else modules,
        }
    yield edit


_METHOD = Rule(
    fields=("method", "method_options", "quantization", "double_quant"),
    keys=(
        "adapter", "load_in_4bit", "load_in_8bit", "bnb_config_kwargs", "lora_target_linear",
        "lora_target_modules", *(option.key for option in _LORA),
    ),
    read=_read_method,
    propose=_propose_method,
)  # fmt: skip


def _read_precision(values: Values) -> Reading:
    """Follow `resolve_dtype`: weights are loaded in the type of bf16 or fp16, which also sets autocast."""
    bf16 = values.raw("bf16", "auto")
    if bf16 not in (True, False, "auto", "full"):
        raise values.wrong("bf16", "true, false, auto or full")
    fp16 = values.flag("fp16")
    if values.flag("bfloat16") or bf16 in (True, "full") or (bf16 == "auto" and not fp16):
        notes = ["axolotl loads weights in bf16 and trains under autocast: counted as pure bf16."]
        if bf16 == "auto":
            notes.append("bf16: auto is taken as true, which it is on GPUs since Ampere.")
        return Reading(settings={"precision": "bf16"}, notes=tuple(notes))
    if fp16 or values.flag("float16") or values.flag("load_in_8bit"):
        note = "axolotl loads weights in fp16 and trains under autocast: counted as pure fp16."
        return Reading(settings={"precision": "fp16"}, notes=(note,))
    return Reading(settings={"precision": "fp32"})


def _propose_precision(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    yield {
        "bfloat16": None,
        "float16": None,
        "fp16": spec.precision == "fp16",
        "bf16": spec.precision == "bf16",
    }


_PRECISION = Rule(
    fields=("precision",),
    keys=("bf16", "fp16", "bfloat16", "float16"),
    read=_read_precision,
    propose=_propose_precision,
)

_ATTENTION_FLAGS = {
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
    "flex_attention": "flex_attention",
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "s2_attention": "s2",
}


def _named_attention(values: Values) -> Values:
    """Return the values with the old flags as the one key that replaced them."""
    name = next((name for flag, name in _ATTENTION_FLAGS.items() if values.flag(flag)), None)
    if name is None or "attn_implementation" in values:
        return values
    return values.with_changes({"attn_implementation": name})


def _read_attention(values: Values) -> Reading:
    return ATTENTION_RULE.read(_named_attention(values))


def _propose_attention(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    flags = dict.fromkeys(_ATTENTION_FLAGS)
    for edit in ATTENTION_RULE.propose(spec, values):
        name = edit["attn_implementation"]
        flag = next((flag for flag, other in _ATTENTION_FLAGS.items() if other == name), None)
        if flag and any(known in values.content for known in _ATTENTION_FLAGS):
            yield {**flags, "attn_implementation": None, flag: True}  # the file is written for the flags
        yield {**flags, **edit}


_ATTENTION = Rule(
    fields=("attention",),
    keys=("attn_implementation", *_ATTENTION_FLAGS),
    read=_read_attention,
    propose=_propose_attention,
)


def _read_accumulation(values: Values) -> Reading:
    total = values.whole("batch_size", 1) if "batch_size" in values else None
    if total is None or "gradient_accumulation_steps" in values:
        return Reading(settings={"gradient_accumulation": values.whole("gradient_accumulation_steps", 1)})
    return Reading(
        settings={"gradient_accumulation": max(1, total // values.whole("micro_batch_size", 1))},
        notes=("batch_size is divided by micro_batch_size, as on one GPU.",),
    )


def _propose_accumulation(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    yield {"batch_size": None, "gradient_accumulation_steps": spec.gradient_accumulation}


def _read_packing(values: Values) -> Reading:
    is_flash = _read_attention(values).settings["attention"] == "flash-attention-2"
    if values.flag("sample_packing"):
        note = "Packed rows are taken as full: sequence_len tokens without padding."
        return Reading(settings={"padding_mask": not is_flash}, notes=(note,))
    if values.flag("pad_to_sequence_len"):
        return Reading(settings={"padding_mask": True})
    note = "Rows are taken as padded to sequence_len; shorter data needs less."
    return Reading(settings={"padding_mask": True}, notes=(note,))


def _read_checkpointing(values: Values) -> Reading:
    given = values.raw("gradient_checkpointing", False)
    strange: tuple[NotUnderstood, ...] = ()
    if given in ("offload", "offload_disk", "unsloth"):
        reason = "offloading to the host is not modelled: kept activations stay on the GPU"
        strange = (NotUnderstood(key="gradient_checkpointing", reason=reason),)
    elif not isinstance(given, bool):
        raise values.wrong("gradient_checkpointing", "true, false, offload or offload_disk")
    # normalize_config re-enters unless told otherwise.
    reentrant = values.mapping("gradient_checkpointing_kwargs").get("use_reentrant", True)
    if not isinstance(reentrant, bool):
        raise values.wrong(
            "gradient_checkpointing_kwargs", "a mapping in which use_reentrant is true or false"
        )
    settings = {
        "gradient_checkpointing": "full" if given else "none",
        "reentrant": bool(given) and reentrant,
    }
    return Reading(settings=settings, not_understood=strange)


def _propose_checkpointing(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    keywords = values.mapping("gradient_checkpointing_kwargs")
    yield {
        "gradient_checkpointing_kwargs": {**keywords, "use_reentrant": spec.reentrant},
        "gradient_checkpointing": spec.gradient_checkpointing == "full",
    }


_LIGER_PLUGIN = "axolotl.integrations.liger.LigerPlugin"


def _read_liger(values: Values) -> Reading:
    plugins = values.words("plugins") or []
    is_fused = values.flag("liger_fused_linear_cross_entropy")
    if is_fused and _LIGER_PLUGIN in plugins:
        return Reading(settings={"loss_kernel": "liger"})
    strange: tuple[NotUnderstood, ...] = ()
    if is_fused:
        reason = f"it needs {_LIGER_PLUGIN} among the plugins; the standard loss is assumed"
        strange = (NotUnderstood(key="liger_fused_linear_cross_entropy", reason=reason),)
    return Reading(settings={"loss_kernel": "standard"}, not_understood=strange)


def _propose_liger(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    if spec.loss_kernel == "standard":
        yield {"liger_fused_linear_cross_entropy": False}
    else:
        plugins = values.words("plugins") or []
        yield {
            "plugins": [*([plugins] if isinstance(plugins, str) else plugins), _LIGER_PLUGIN],
            "liger_fused_linear_cross_entropy": True,
        }


def _read_plugins(values: Values) -> Reading:
    plugins = values.words("plugins") or []
    others = [name for name in ([plugins] if isinstance(plugins, str) else plugins) if name != _LIGER_PLUGIN]
    if not others:
        return Reading()
    reason = f"{', '.join(others)}: what plugins change is not modelled"
    return Reading(not_understood=(NotUnderstood(key="plugins", reason=reason),))


def _read_compile(values: Values) -> Reading:
    given = values.raw("torch_compile", False)
    if given not in (True, False, "auto"):
        raise values.wrong("torch_compile", "true, false or auto")
    return Reading(settings={"compile": bool(given)})


def _propose_compile(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    yield {"torch_compile": spec.compile}


def _read_empty_cache(values: Values) -> Reading:
    steps = values.raw("gc_steps", 0)
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise values.wrong("gc_steps", "a whole number")
    return Reading(settings={"empty_cache_every": max(0, steps)})  # -1: only around evaluations


def _propose_empty_cache(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    yield {"gc_steps": spec.empty_cache_every}


def _read_evaluation(values: Values) -> Reading:
    has_data = values.number("val_set_size", 0) > 0 or bool(values.raw("test_datasets"))
    if not has_data or values.text("eval_strategy", "epoch") == "no":
        return Reading()
    size = values.whole("eval_batch_size", values.whole("micro_batch_size", 1))
    return Reading(settings={"evaluation_batch_size": size})


def _propose_evaluation(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    if spec.evaluation_batch_size is None:
        yield {"eval_strategy": "no", "eval_steps": None, "evals_per_epoch": None}
    else:
        yield {"eval_batch_size": spec.evaluation_batch_size}


AXOLOTL = Format(
    name="axolotl",
    marks=frozenset(
        {"micro_batch_size", "sequence_len", "sample_packing", "lora_target_linear", "num_epochs"}
        | {"pad_to_sequence_len", "pretraining_dataset", "val_set_size"}
    ),
    rules=(
        model_rule("base_model"),
        _METHOD,
        _PRECISION,
        _ATTENTION,
        plain("sequence_length", "sequence_len", lambda values: values.whole("sequence_len", 512)),
        Rule(fields=("padding_mask",), keys=("sample_packing", "pad_to_sequence_len"), read=_read_packing),
        plain("batch_size", "micro_batch_size", lambda values: values.whole("micro_batch_size", 1)),
        Rule(
            fields=("gradient_accumulation",),
            keys=("gradient_accumulation_steps", "batch_size"),
            read=_read_accumulation,
            propose=_propose_accumulation,
        ),
        shared.optimizer_rule("optimizer", lora_plus=True),
        Rule(
            fields=("gradient_checkpointing", "reentrant"),
            keys=("gradient_checkpointing", "gradient_checkpointing_kwargs"),
            read=_read_checkpointing,
            propose=_propose_checkpointing,
        ),
        Rule(
            fields=("loss_kernel",),
            keys=("liger_fused_linear_cross_entropy", "plugins"),
            read=_read_liger,
            propose=_propose_liger,
        ),
        Rule(fields=(), keys=("plugins",), read=_read_plugins),
        shared.MAX_GRAD_NORM,
        Rule(fields=("compile",), keys=("torch_compile",), read=_read_compile, propose=_propose_compile),
        Rule(
            fields=("empty_cache_every",),
            keys=("gc_steps",),
            read=_read_empty_cache,
            propose=_propose_empty_cache,
        ),
        # AxolotlTrainer is a Trainer of transformers, which turns the cache off.
        constant("use_cache", False),
        Rule(
            fields=("evaluation_batch_size",),
            keys=("val_set_size", "test_datasets", "eval_strategy", "eval_batch_size"),
            read=_read_evaluation,
            propose=_propose_evaluation,
        ),
    ),
    other_keys=other_keys("transformers", "axolotl"),
)
