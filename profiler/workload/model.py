"""The model of a trial: a skeleton on the meta device, then random weights on the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from profiler.errors import NotPossibleError
from profiler.model_config import AUTO_CLASSES
from profiler.workload.config import load_config
from profiler.workload.quantize import quantized_weight, quantizer

if TYPE_CHECKING:
    from profiler.spec import TrialSpec

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_ATTENTION = {"eager": "eager", "flash-attention-2": "flash_attention_2"}


def weight_dtype(spec: TrialSpec) -> torch.dtype:
    """Return the type of the unquantised weights: autocast keeps them in fp32."""
    return _DTYPES.get(spec.precision, torch.float32)


def autocast_dtype(spec: TrialSpec) -> torch.dtype | None:
    """Return what autocast computes in, or None without autocast."""
    return _DTYPES[spec.precision.removeprefix("amp-")] if spec.precision.startswith("amp-") else None


def build_model(spec: TrialSpec, device: torch.device) -> Any:
    """Build the base model with random weights, quantised where the spec says so.

    It follows `from_pretrained` with an empty checkpoint: skeleton on the meta device, quantised layers put
    in, every tensor made on the device, then the model's own initialisation. A peak of loading that a
    16-bit copy on the device would cause is therefore not there, as it is not in `from_pretrained`.

    Raises:
        NotPossibleError: If the configuration, the attention or the quantisation cannot be had.
    """
    model, replaced = skeleton(spec)
    materialize(model, spec, device)
    if replaced is not None:
        replaced.postprocess_model(model)
    return model


def skeleton(spec: TrialSpec) -> tuple[Any, Any | None]:
    """Build the model on the meta device, its layers replaced for quantisation; also return the quantizer.

    Raises:
        NotPossibleError: As `build_model`.
    """
    config = load_config(spec)
    _check_positions(spec, config)
    dtype = weight_dtype(spec)
    replaced = quantizer(spec, autocast_dtype(spec) or dtype)
    settings: dict[str, Any] = {"dtype": dtype}
    if spec.attention != "auto":
        settings["attn_implementation"] = _ATTENTION.get(spec.attention, "sdpa")
    try:
        with torch.device("meta"):
            model = AUTO_CLASSES[spec.task].from_config(config, **settings)
    except (ValueError, ImportError, TypeError) as error:
        message = " ".join(str(error).split("\n")[0].split()[:40])
        raise NotPossibleError(f"transformers cannot build {spec.model} for {spec.task}: {message}") from None
    if replaced is not None:
        replaced.preprocess_model(model, dtype=dtype, device_map=None)
    return model, replaced


def _check_positions(spec: TrialSpec, config: Any) -> None:
    """Refuse lengths beyond a table of learned positions; rotary positions have no such end."""
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    if limit is None or spec.task in ("image-classification", "seq2seq-lm"):
        return
    is_rotary = getattr(text, "rope_parameters", None) is not None or hasattr(text, "rope_theta")
    longest = spec.sequence_length
    if isinstance(spec.lengths, tuple):
        longest = max(spec.lengths)
    elif spec.lengths is not None and not spec.packing:
        longest = max(int(length) for length in spec.lengths)
    if longest > limit and not is_rotary and text.model_type != "bloom":
        raise NotPossibleError(
            f"{spec.model} has {limit} positions, fewer than a sequence of {longest} tokens"
        )


def materialize(model: Any, spec: TrialSpec, device: torch.device) -> None:
    """Give every parameter and buffer of a skeleton its storage on the device, and random values."""
    dtype = weight_dtype(spec)
    in_fp32 = [name for name, kept in model._get_dtype_plan(dtype).items() if kept == torch.float32]
    made: dict[int, torch.nn.Parameter] = {}  # tied weights stay one tensor
    for module_name, module in model.named_modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or parameter.device.type != "meta":
                continue
            if id(parameter) not in made:
                quantized = quantized_weight(module, parameter, device, dtype)
                fp32 = any(part in f"{module_name}.{name}".split(".") for part in in_fp32)
                made[id(parameter)] = _empty(parameter, device, fp32=fp32) if quantized is None else quantized
            module._parameters[name] = made[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.device.type == "meta":
                module._buffers[name] = torch.empty_like(buffer, device=device)
    model.initialize_weights()
    model.tie_weights()


def _empty(parameter: torch.nn.Parameter, device: torch.device, *, fp32: bool) -> torch.nn.Parameter:
    dtype = torch.float32 if fp32 and parameter.is_floating_point() else parameter.dtype
    empty = torch.empty_like(parameter, dtype=dtype, device=device)
    return torch.nn.Parameter(empty, requires_grad=parameter.requires_grad)
