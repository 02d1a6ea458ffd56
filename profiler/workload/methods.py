"""The training method of a trial, applied to its model: which parameters train, and what peft adds."""

from __future__ import annotations

import re
import tempfile
from typing import TYPE_CHECKING, Any

import peft
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from profiler.errors import NotPossibleError
from profiler.spec.frozen import thaw
from profiler.spec.methods import PLAIN_METHODS, peft_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from profiler.spec import TrialSpec

_TASK_TYPES = {"causal-lm": "CAUSAL_LM", "sequence-classification": "SEQ_CLS", "seq2seq-lm": "SEQ_2_SEQ_LM"}
# Methods whose forward asks for the task of each sample.
TASK_ID_METHODS = {"multitask-prompt-tuning", "poly"}
# The classifier heads of transformers; a fresh head is trained beside the adapter, as peft does for SEQ_CLS.
_HEAD_NAMES = ("classifier", "score", "head", "classification_head")


def apply_method(model: Any, spec: TrialSpec) -> Any:
    """Make the model trainable as the method says, and return it (wrapped by peft where it is an adapter).

    Raises:
        NotPossibleError: If peft refuses the combination, or nothing of the model would be trained.
    """
    checkpointing = {"use_reentrant": spec.reentrant}
    if spec.quantization != "none" and spec.kbit_prepare:
        model = peft.prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=spec.gradient_checkpointing == "full",
            gradient_checkpointing_kwargs=checkpointing,
        )
    if spec.gradient_checkpointing == "full":
        try:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=checkpointing)
        except ValueError as error:
            raise NotPossibleError(f"{spec.model} has no gradient checkpointing: {error}") from None
        if spec.reentrant and spec.method != "full":
            model.enable_input_require_grads()  # or a frozen embedding would cut the reentrant graph
    if spec.method in PLAIN_METHODS:
        _PLAIN[spec.method](model, spec)
    else:
        model = _with_adapter(model, spec)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise NotPossibleError(f"method {spec.method} finds nothing to train in {spec.model}")
    return model


def after_optimizer_step(model: Any, spec: TrialSpec) -> Callable[[int], None] | None:
    """Return what a method asks the loop to call after each optimizer step, or None."""
    if spec.method == "adalora":
        update: Callable[[int], None] = model.base_model.update_and_allocate
        return update
    return None


def _with_adapter(model: Any, spec: TrialSpec) -> Any:
    make_config = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}.get(
        peft_name(spec.method)
    )
    if make_config is None:
        raise NotPossibleError(f"peft {peft.__version__} has no method {spec.method}")
    options = thaw(spec.method_options)
    if spec.task == "image-classification" and "modules_to_save" in make_config.__dataclass_fields__:
        options.setdefault("modules_to_save", [name for name in _HEAD_NAMES if hasattr(model, name)])
    try:
        with tempfile.TemporaryDirectory(prefix="sizeup-xlora-") as folder:
            if spec.method == "xlora":
                _complete_xlora(model, options, folder)
            config = make_config(task_type=_TASK_TYPES.get(spec.task), **options)
            return peft.get_peft_model(model, config, autocast_adapter_dtype=spec.autocast_adapter_dtype)
    except (ValueError, TypeError, NotImplementedError, ImportError, KeyError, AssertionError) as error:
        message = " ".join(str(error).split())
        if "target_modules" in message and "target_modules" not in options:
            message += " (such as --method-option target_modules=all-linear)"
        raise NotPossibleError(f"peft refuses {spec.method} on {spec.model}: {message}") from None


def _complete_xlora(model: Any, options: dict[str, Any], folder: str) -> None:
    """Give X-LoRA what it mixes: two fresh LoRA adapters, saved where its loader finds them."""
    model.config.use_cache = False  # peft: "`use_cache` must be False"
    options.setdefault("hidden_size", model.config.get_text_config().hidden_size)
    if "adapters" in options:
        return
    lora = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM"))
    lora.save_pretrained(folder)
    lora.unload()
    # Numbered, because the loader numbers them (peft/tuners/xlora/model.py, 0.21.2).
    options["adapters"] = {"0": folder, "1": folder}


def _train_all(model: Any, spec: TrialSpec) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())


def _train_biases(model: Any, spec: TrialSpec) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    _unfreeze(_fresh_head(model, spec))


def _train_head(model: Any, spec: TrialSpec) -> None:
    model.requires_grad_(False)
    output = model.get_output_embeddings() if spec.task in ("causal-lm", "seq2seq-lm") else None
    _unfreeze(list(output.parameters()) if output is not None else _fresh_head(model, spec))


def _train_last_layers(model: Any, spec: TrialSpec) -> None:
    """Train the last `layers` blocks, as LLaMA-Factory's `freeze` does, and a fresh head."""
    count = spec.method_options.get("layers", 2)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise NotPossibleError(f"freeze needs a whole number of layers of at least 1, not {count!r}")
    blocks = _blocks(model)
    if len(blocks) < count:
        raise NotPossibleError(f"{spec.model} has {len(blocks)} layers, fewer than freeze layers={count}")
    model.requires_grad_(False)
    for block in blocks[-count:]:
        _unfreeze(list(block.parameters()))
    _unfreeze(_fresh_head(model, spec))


_PLAIN: dict[str, Callable[[Any, TrialSpec], None]] = {
    "full": _train_all,
    "bitfit": _train_biases,
    "head": _train_head,
    "freeze": _train_last_layers,
}


def _unfreeze(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.is_floating_point():
            parameter.requires_grad_(True)


def _fresh_head(model: Any, spec: TrialSpec) -> list[torch.nn.Parameter]:
    """Return the parameters outside the pretrained body; language models bring their head along."""
    if spec.task in ("causal-lm", "seq2seq-lm"):
        return []
    body = f"{model.base_model_prefix}."
    return [parameter for name, parameter in model.named_parameters() if not name.startswith(body)]


def _blocks(model: Any) -> list[torch.nn.Module]:
    """Return the repeated layers: the longest module list (of an encoder-decoder, encoder then decoder)."""
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    numbered = [
        module
        for name, module in model.named_modules()
        if re.search(r"(^|\.)(layers?|h|blocks?)$", name) and isinstance(module, torch.nn.ModuleList)
    ]
    return [block for found in (numbered or lists) for block in found]
