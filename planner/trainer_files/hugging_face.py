"""TRL's scripts (`trl sft --config FILE`) and plain TrainingArguments, as YAML or JSON.

Sources: trl/trainer/sft_config.py, base_config.py and model_config.py of 2026, and transformers/
training_args.py, 5.23.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.trainer_files import trainer_arguments as shared
from planner.trainer_files.adapters import Option, all_linear, edit_options, read_options
from planner.trainer_files.other_keys import other_keys
from planner.trainer_files.rules import Format, NotUnderstood, Reading, Rule, choice, model_rule
from profiler.trainer_spec import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.trainer_files.rules import Edit
    from planner.trainer_files.values import Values
    from profiler.spec import TrialSpec

ATTENTION_RULE = choice(
    "attention",
    "attn_implementation",
    {**ATTENTION, "sdpa": "sdpa"},
    default="auto",
    near={
        "flash_attention_3": "flash-attention-2",
        "kernels-community/flash-attn2": "flash-attention-2",
        "kernels-community/flash-attn3": "flash-attention-2",
    },
)

_LORA = (
    Option(key="lora_r", name="r", read=lambda values: values.whole("lora_r", 16)),
    Option(key="lora_alpha", name="lora_alpha", read=lambda values: values.whole("lora_alpha", 32)),
    Option(key="lora_dropout", name="lora_dropout", read=lambda values: values.number("lora_dropout", 0.05)),
    Option(
        key="lora_target_modules",
        name="target_modules",
        read=lambda values: all_linear(values.words("lora_target_modules"), "all-linear"),
    ),
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
    Option(key="use_rslora", name="use_rslora", read=lambda values: values.flag("use_rslora")),
    Option(key="use_dora", name="use_dora", read=lambda values: values.flag("use_dora")),
)


def _read_method(values: Values) -> Reading:
    settings: dict[str, Any] = {"method": "full"}
    notes = []
    if values.flag("use_peft"):
        settings = {"method": "lora", "method_options": read_options(values, "lora", _LORA)}
    four, eight = values.flag("load_in_4bit"), values.flag("load_in_8bit")
    if four and eight:
        raise values.wrong("load_in_8bit", "false where load_in_4bit is true")
    if eight:
        settings["quantization"] = "int8"
    if four:
        settings["quantization"] = values.text("bnb_4bit_quant_type", "nf4")
        settings["double_quant"] = values.flag("use_bnb_nested_quant")
        notes.append(
            "Recent TRL keeps the adapters of quantised models in bf16; the figures have them in fp32."
        )
    if settings.get("quantization") not in (None, "int8", "nf4", "fp4"):
        raise values.wrong("bnb_4bit_quant_type", "nf4 or fp4")
    return Reading(settings=settings, notes=tuple(notes))


def _propose_method(spec: TrialSpec, values: Values) -> Iterable[Edit]:
    edit: Edit = {
        "use_peft": spec.method == "lora",
        "load_in_8bit": spec.quantization == "int8",
        "load_in_4bit": spec.quantization in ("nf4", "fp4"),
    }
    if edit["load_in_4bit"]:
        edit |= {"bnb_4bit_quant_type": spec.quantization, "use_bnb_nested_quant": spec.double_quant}
    if edit["use_peft"]:
        edit |= edit_options("lora", spec.method_options, _LORA)
    yield edit


_METHOD = Rule(
    fields=("method", "method_options", "quantization", "double_quant"),
    keys=(
        "use_peft", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "use_bnb_nested_quant",
        *(option.key for option in _LORA),
    ),
    read=_read_method,
    propose=_propose_method,
)  # fmt: skip

_WEIGHTS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def _precision_rule(*, dtype: str, bf16: bool, can_say_dtype: bool) -> Rule:
    """Return the rule of the precision: the type of the weights, and whether autocast is on.

    Args:
        dtype: Type in which the weights are loaded where the file does not say.
        bf16: Whether autocast to bf16 is on unless fp16 is.
        can_say_dtype: Whether a file that does not name the type may be given the key.
    """

    def read(values: Values) -> Reading:
        key = values.first("dtype", "torch_dtype")
        named = values.text(key, dtype)
        notes, strange = [], []
        if named == "auto":
            notes.append("The weights are taken as bf16: they are loaded as the checkpoint has them.")
        elif named not in _WEIGHTS:
            reason = f"{named} is not modelled; bfloat16 is assumed"
            strange.append(NotUnderstood(key=key, reason=reason))
        weights = _WEIGHTS.get(named, "bf16")
        autocast = ""
        if values.flag("fp16"):
            autocast = "fp16"
        elif values.flag("bf16", bf16):
            autocast = "bf16"
        if weights == "fp32" and autocast:
            precision = f"amp-{autocast}"
            notes.append(f"The weights are taken as fp32 ({key}), with autocast to {autocast}.")
        else:
            precision = weights
            if autocast:
                notes.append(f"Autocast over {weights} weights is counted as pure {weights}.")
        return Reading(settings={"precision": precision}, notes=tuple(notes), not_understood=tuple(strange))

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        key = values.first("dtype", "torch_dtype")
        wanted = spec.precision.removeprefix("amp-")
        autocast = {"bf16": wanted == "bf16", "fp16": spec.precision == "amp-fp16"}
        yield autocast
        if can_say_dtype or key in values or "model_name_or_path" in values:
            names = {short: name for name, short in _WEIGHTS.items()}
            yield {key: names["fp32" if spec.precision.startswith("amp-") else wanted], **autocast}

    return Rule(
        fields=("precision",), keys=("dtype", "torch_dtype", "bf16", "fp16"), read=read, propose=propose
    )


def _length_rule(*keys: str, default: int | None) -> Rule:
    """Return the rule of the length; the first of the keys is written where none is said."""

    def read(values: Values) -> Reading:
        key = values.first(*keys)
        if default is None and key not in values:
            return Reading(notes=("The file names no length; give sequence_length.",))
        length = values.whole(key, default or 1)
        if key in values.content and key not in values:
            reason = f"rows are not cut, so their length is unknown; {length} tokens are assumed"
            strange = (NotUnderstood(key=key, reason=reason),)
            return Reading(settings={"sequence_length": length}, not_understood=strange)
        return Reading(settings={"sequence_length": length})

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        key = values.first(*keys)
        if default is not None or key in values:
            yield {key: spec.sequence_length}

    return Rule(fields=("sequence_length",), keys=keys, read=read, propose=propose)


def _read_packing(values: Values) -> Reading:
    is_flash = ATTENTION_RULE.read(values).settings["attention"] == "flash-attention-2"
    is_packed = values.flag("packing")
    keeps_rows = values.text("packing_strategy", "bfd") != "wrapped"
    if is_packed:
        note = "Packed rows are taken as full: max_length tokens without padding."
    elif values.flag("padding_free"):
        note = "Rows are taken as max_length tokens long; without padding, shorter data needs less."
    else:
        note = "Rows are taken as padded to max_length; shorter data needs less."
    # Without flash attention, transformers keeps packed rows apart by a mask of its own making.
    is_maskless = (is_packed and (is_flash or not keeps_rows)) or (values.flag("padding_free") and is_flash)
    return Reading(settings={"padding_mask": not is_maskless}, notes=(note,))


_PACKING = Rule(
    fields=("padding_mask",), keys=("packing", "packing_strategy", "padding_free"), read=_read_packing
)


def _liger_rule(*, chunked: bool) -> Rule:
    """Return the rule of the loss.

    Args:
        chunked: Whether the trainer computes the loss in chunks unless told otherwise.
    """

    def read(values: Values) -> Reading:
        given = values.mapping("liger_kernel_config")
        is_fused = given.get("fused_linear_cross_entropy", True) is True
        if values.flag("use_liger_kernel") and is_fused:
            return Reading(settings={"loss_kernel": "liger"}, notes=(shared.LIGER_NOTE,))
        notes, strange = [], []
        if values.flag("use_liger_kernel"):
            reason = "Liger's other kernels are not modelled"
            strange.append(NotUnderstood(key="use_liger_kernel", reason=reason))
        elif chunked and (loss := values.text("loss_type", "chunked_nll")) == "chunked_nll":
            notes.append(
                "Recent TRL computes the loss in chunks (loss_type chunked_nll); the figures hold all logits "
                "at once, as loss_type nll does, so the peak may be lower."
            )
        elif chunked and loss != "nll":
            reason = f"{loss} is not modelled; nll is assumed"
            strange.append(NotUnderstood(key="loss_type", reason=reason))
        return Reading(
            settings={"loss_kernel": "standard"}, notes=tuple(notes), not_understood=tuple(strange)
        )

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        is_liger = spec.loss_kernel == "liger"
        yield {"use_liger_kernel": is_liger}
        given = values.mapping("liger_kernel_config")
        yield {"use_liger_kernel": is_liger,
               "liger_kernel_config": {**given, "fused_linear_cross_entropy": is_liger}}  # fmt: skip

    keys = ("use_liger_kernel", "liger_kernel_config", *(("loss_type",) if chunked else ()))
    return Rule(fields=("loss_kernel",), keys=keys, read=read, propose=propose)


_COMMON = (
    model_rule("model_name_or_path"),
    ATTENTION_RULE,
    shared.BATCH,
    shared.ACCUMULATION,
    shared.optimizer_rule("optim"),
    shared.MAX_GRAD_NORM,
    shared.COMPILE,
    shared.EMPTY_CACHE,
    shared.USE_CACHE,
    shared.EVALUATION,
)

TRL = Format(
    name="trl",
    marks=frozenset(
        {
            "use_peft",
            "max_length",
            "max_seq_length",
            "packing",
            "packing_strategy",
            "padding_free",
            "lora_r",
            "lora_target_modules",
            "load_in_4bit",
            "load_in_8bit",
            "use_bnb_nested_quant",
            "dataset_train_split",
            "dataset_text_field",
            "assistant_only_loss",
            "completion_only_loss",
            "loss_type",
            "chat_template_path",
            "activation_offloading",
        }
    ),
    rules=(
        *_COMMON,
        _METHOD,
        # ModelConfig.dtype is float32 and SFTConfig has bf16 on unless fp16 is.
        _precision_rule(dtype="float32", bf16=True, can_say_dtype=True),
        shared.checkpointing_rule(default=True),
        _length_rule("max_length", "max_seq_length", default=1024),
        _PACKING,
        _liger_rule(chunked=True),
    ),
    other_keys=other_keys("transformers", "scripts", "trl"),
)

HUGGING_FACE = Format(
    name="hugging-face",
    marks=frozenset(
        {
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "num_train_epochs",
            "optim",
            "lr_scheduler_type",
            "model_name_or_path",
            "gradient_checkpointing",
            "torch_compile",
            "use_liger_kernel",
        }
    ),
    rules=(
        *_COMMON,
        # transformers 5 loads weights as the checkpoint has them unless its caller names a type.
        _precision_rule(dtype="auto", bf16=False, can_say_dtype=False),
        shared.checkpointing_rule(default=False),
        _length_rule("block_size", default=None),
        _liger_rule(chunked=False),
    ),
    other_keys=other_keys("transformers", "scripts"),
    notes=("TrainingArguments name no method and no quantisation; the script decides them: give method.",),
)
