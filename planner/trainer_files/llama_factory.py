"""LLaMA-Factory (`llamafactory-cli train FILE`), as YAML or JSON.

Sources: src/llamafactory/hparams/{model,data,finetuning}_args.py, model/adapter.py and
model/model_utils/{attention,checkpointing,quantization}.py of 2025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.trainer_files import trainer_arguments as shared
from planner.trainer_files.adapters import Option, all_linear, edit_options, read_options
from planner.trainer_files.other_keys import other_keys
from planner.trainer_files.rules import (
    Format,
    NotUnderstood,
    Reading,
    Rule,
    choice,
    constant,
    model_rule,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.trainer_files.rules import Edit
    from planner.trainer_files.values import Values
    from profiler.spec import TrialSpec

_ATTENTION = choice(
    "attention",
    "flash_attn",
    # `off` is what older releases called `disabled`; YAML reads it as false.
    {"disabled": "eager", "off": "eager", "no": "eager", "sdpa": "sdpa", "fa2": "flash-attention-2",
     "auto": "auto"},
    default="auto",
    near={"fa3": "flash-attention-2"},
)  # fmt: skip

_LORA = (
    Option(key="lora_rank", name="r", read=lambda values: values.whole("lora_rank", 8)),
    Option(
        key="lora_alpha",
        name="lora_alpha",
        read=lambda values: values.whole("lora_alpha", 2 * values.whole("lora_rank", 8)),
    ),
    Option(key="lora_dropout", name="lora_dropout", read=lambda values: values.number("lora_dropout", 0.0)),
    Option(key="use_rslora", name="use_rslora", read=lambda values: values.flag("use_rslora")),
    Option(key="use_dora", name="use_dora", read=lambda values: values.flag("use_dora")),
)
_OFT = (
    Option(key="oft_rank", name="r", read=lambda values: values.whole("oft_rank", 0, least=0)),
    Option(
        key="oft_block_size",
        name="oft_block_size",
        read=lambda values: values.whole("oft_block_size", 32, least=0),
    ),
    Option(
        key="module_dropout", name="module_dropout", read=lambda values: values.number("module_dropout", 0.0)
    ),
)
_ADAPTERS = {"lora": ("lora_target", _LORA), "oft": ("oft_target", _OFT)}


def _read_method(values: Values) -> Reading:
    method = values.text("finetuning_type", "lora")
    options: dict[str, Any] = {}
    strange = []
    if method in _ADAPTERS:
        target, table = _ADAPTERS[method]
        options = read_options(values, method, table)
        options["target_modules"] = all_linear(values.words(target, split=True) or ["all"], "all")
        if extra := values.words("additional_target", split=True):
            options["modules_to_save"] = extra
    elif method == "freeze":
        layers = values.raw("freeze_trainable_layers", 2)
        if isinstance(layers, int) and layers < 0:
            reason = f"the first layers are not modelled; the last {-layers} are assumed"
            strange.append(NotUnderstood(key="freeze_trainable_layers", reason=reason))
            layers = -layers
        else:
            layers = values.whole("freeze_trainable_layers", 2)
        options = {"layers": layers}
    elif method != "full":
        raise values.wrong("finetuning_type", "lora, oft, freeze or full")
    settings, odd = _read_quantization(values)
    settings = {"method": method, "method_options": options, **settings}
    return Reading(settings=settings, not_understood=(*strange, *odd))


def _read_quantization(values: Values) -> tuple[dict[str, Any], list[NotUnderstood]]:
    if "quantization_bit" not in values:
        return {}, []
    bits = values.whole("quantization_bit", 4)
    name = values.text("quantization_method", "bnb")
    strange = []
    if name not in ("bnb", "bitsandbytes"):
        reason = f"{name} is not modelled; bitsandbytes is assumed"
        strange.append(NotUnderstood(key="quantization_method", reason=reason))
    if bits not in (4, 8):
        reason = f"{bits} bits are not modelled; 4 are assumed"
        strange.append(NotUnderstood(key="quantization_bit", reason=reason))
    if bits == 8:
        return {"quantization": "int8"}, strange
    kind = values.text("quantization_type", "nf4")
    if kind not in ("nf4", "fp4"):
        raise values.wrong("quantization_type", "nf4 or fp4")
    return {"quantization": kind, "double_quant": values.flag("double_quantization", True)}, strange


def _propose_method(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    edit: Edit = {"finetuning_type": spec.method}
    if spec.method in _ADAPTERS:
        target, table = _ADAPTERS[spec.method]
        modules = spec.method_options.get("target_modules")
        if not modules:
            return  # the format cannot leave the targets to peft
        edit |= edit_options(spec.method, spec.method_options, table)
        edit[target] = "all" if modules == "all-linear" else _joined(modules)
        edit["additional_target"] = _joined(spec.method_options.get("modules_to_save")) or None
    elif spec.method == "freeze":
        edit["freeze_trainable_layers"] = spec.method_options["layers"]
    if spec.quantization == "none":
        edit |= {"quantization_bit": None}
    else:
        edit |= {"quantization_bit": 8 if spec.quantization == "int8" else 4, "quantization_method": None}
    if spec.quantization in ("nf4", "fp4"):
        edit |= {"quantization_type": spec.quantization, "double_quantization": spec.double_quant}
    yield edit


def _joined(words: Any) -> str:
    return words if isinstance(words, str) else ",".join(words or ())


_METHOD = Rule(
    fields=("method", "method_options", "quantization", "double_quant"),
    keys=(
        "finetuning_type", "freeze_trainable_layers", "additional_target", "lora_target", "oft_target",
        "quantization_bit", "quantization_method", "quantization_type", "double_quantization",
        *(option.key for option in (*_LORA, *_OFT)),
    ),
    read=_read_method,
    propose=_propose_method,
)  # fmt: skip


def _read_precision(values: Values) -> Reading:
    """Weights are loaded in the compute type; what is trained is cast to fp32 unless pure_bf16 is set."""
    method = values.text("finetuning_type", "lora")
    autocast = next((name for name in ("bf16", "fp16") if values.flag(name)), None)
    if values.flag("pure_bf16"):
        return Reading(settings={"precision": "bf16"})
    if method == "full":
        note = "LLaMA-Factory casts what it trains to fp32 (no pure_bf16), here the whole model."
        return Reading(settings={"precision": f"amp-{autocast}" if autocast else "fp32"}, notes=(note,))
    weights = autocast or "bf16"
    notes = []
    if autocast is None:
        notes.append("Frozen weights are taken as bf16: they are loaded as the checkpoint has them.")
    if method == "freeze":
        notes.append(f"The trained layers are counted in {weights}; LLaMA-Factory casts them to fp32.")
    return Reading(settings={"precision": weights}, notes=tuple(notes))


def _propose_precision(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    name = spec.precision.removeprefix("amp-")
    yield {"bf16": name == "bf16", "fp16": name == "fp16", "pure_bf16": False}
    yield {"bf16": False, "fp16": False, "pure_bf16": name == "bf16"}


_PRECISION = Rule(
    fields=("precision",),
    keys=("bf16", "fp16", "pure_bf16"),
    read=_read_precision,
    propose=_propose_precision,
)


def _read_checkpointing(values: Values) -> Reading:
    strange: tuple[NotUnderstood, ...] = ()
    is_on = not values.flag("disable_gradient_checkpointing") or values.flag("gradient_checkpointing")
    if is_on and values.flag("use_unsloth_gc"):
        reason = "offloading to the host is not modelled: kept activations stay on the GPU"
        strange = (NotUnderstood(key="use_unsloth_gc", reason=reason),)
    settings = {
        "gradient_checkpointing": "full" if is_on else "none",
        "reentrant": is_on and values.flag("use_reentrant_gc", True),
    }
    return Reading(settings=settings, not_understood=strange)


def _propose_checkpointing(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    is_on = spec.gradient_checkpointing == "full"
    yield {
        "use_reentrant_gc": spec.reentrant,
        "gradient_checkpointing": None,
        "disable_gradient_checkpointing": not is_on,
    }


_CHECKPOINTING = Rule(
    fields=("gradient_checkpointing", "reentrant"),
    keys=(
        "disable_gradient_checkpointing", "gradient_checkpointing", "use_reentrant_gc", "use_unsloth_gc",
    ),
    read=_read_checkpointing,
    propose=_propose_checkpointing,
)  # fmt: skip


def _read_packing(values: Values) -> Reading:
    keeps_rows = values.flag("neat_packing")
    is_packed = keeps_rows or values.flag("packing", values.text("stage", "sft") == "pt")
    if not is_packed:
        note = "Rows are taken as padded to cutoff_len; shorter data needs less."
        return Reading(settings={"padding_mask": True}, notes=(note,))
    is_flash = _ATTENTION.read(values).settings["attention"] == "flash-attention-2"
    note = "Packed rows are taken as full: cutoff_len tokens without padding."
    return Reading(settings={"padding_mask": keeps_rows and not is_flash}, notes=(note,))


def _read_stage(values: Values) -> Reading:
    stage = values.text("stage", "sft")
    if stage in ("sft", "pt"):
        return Reading()
    reason = f"the losses and models of stage {stage} are not modelled; sft is assumed"
    return Reading(not_understood=(NotUnderstood(key="stage", reason=reason),))


def _read_liger(values: Values) -> Reading:
    if values.flag("enable_liger_kernel"):
        return Reading(settings={"loss_kernel": "liger"}, notes=(shared.LIGER_NOTE,))
    return Reading(settings={"loss_kernel": "standard"})


def _propose_liger(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    yield {"enable_liger_kernel": spec.loss_kernel == "liger"}


LLAMA_FACTORY = Format(
    name="llama-factory",
    marks=frozenset(
        {
            "finetuning_type",
            "stage",
            "cutoff_len",
            "lora_rank",
            "lora_target",
            "quantization_bit",
            "pure_bf16",
            "template",
            "dataset_dir",
            "freeze_trainable_layers",
            "flash_attn",
            "enable_liger_kernel",
            "disable_gradient_checkpointing",
        }
    ),
    rules=(
        model_rule("model_name_or_path"),
        _METHOD,
        constant("kbit_prepare", False),
        _PRECISION,
        _ATTENTION,
        Rule(fields=(), keys=("stage",), read=_read_stage),
        plain("sequence_length", "cutoff_len", lambda values: values.whole("cutoff_len", 2048)),
        Rule(fields=("padding_mask",), keys=("packing", "neat_packing"), read=_read_packing),
        _CHECKPOINTING,
        Rule(
            fields=("loss_kernel",), keys=("enable_liger_kernel",), read=_read_liger, propose=_propose_liger
        ),
        shared.BATCH,
        shared.ACCUMULATION,
        shared.optimizer_rule("optim", lora_plus=True),
        shared.MAX_GRAD_NORM,
        shared.COMPILE,
        shared.EMPTY_CACHE,
        shared.USE_CACHE,
        shared.EVALUATION,
    ),
    other_keys=other_keys("transformers", "llama-factory"),
    settled=frozenset({"kbit_prepare"}),
)
