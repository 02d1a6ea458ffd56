"""bitsandbytes layers with random weights, replaced and quantised as transformers does when it loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from profiler.errors import NotPossibleError, first_line

if TYPE_CHECKING:
    from profiler.spec import TrialSpec


def quantizer(spec: TrialSpec, compute_dtype: torch.dtype) -> Any | None:
    """Return transformers' quantizer for a spec, or None when its weights stay as they are.

    Raises:
        NotPossibleError: If bitsandbytes is not installed or cannot run here.
    """
    if spec.quantization == "none":
        return None
    if spec.method == "full":
        # transformers.Trainer refuses the same ("cannot perform fine-tuning on purely quantized models").
        raise NotPossibleError(f"{spec.quantization} weights cannot be trained: take a method with adapters")
    from transformers import BitsAndBytesConfig
    from transformers.quantizers import AutoHfQuantizer

    try:
        found = AutoHfQuantizer.from_config(
            _config(BitsAndBytesConfig, spec, compute_dtype), pre_quantized=False
        )
        found.validate_environment(device_map=None)
    except (ImportError, RuntimeError, ValueError) as error:
        raise NotPossibleError(
            f"{spec.quantization} needs bitsandbytes (the extra 'quant'): {first_line(error)}"
        ) from None
    return found


def _config(make: Any, spec: TrialSpec, compute_dtype: torch.dtype) -> Any:
    if spec.quantization == "int8":
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.quantization,
        bnb_4bit_use_double_quant=spec.double_quant,
        bnb_4bit_compute_dtype=compute_dtype,
    )


def quantized_weight(module: Any, placeholder: Any, device: torch.device, dtype: torch.dtype) -> Any | None:
    """Return the quantised weight of a bitsandbytes layer, or None if the module is not one.

    The weight passes through the device in `dtype` first, as in loading: that is a part of the load peak.

    Args:
        module: The layer that `replace_with_bnb_linear` made.
        placeholder: Its weight on the meta device, shape (out, in), which carries the quantisation settings.
        device: Where the quantised weight shall be.
        dtype: Type of the unquantised weight.
    """
    kind = type(placeholder).__name__
    if kind not in ("Params4bit", "Int8Params"):
        return None
    # In loading, 4-bit weights are quantised on the device and 8-bit ones pass through the host
    # (transformers/integrations/bitsandbytes.py, Bnb4bitQuantize and Bnb8bitQuantize, 5.23.0).
    source = device if kind == "Params4bit" else torch.device("cpu")
    weight = torch.empty(placeholder.shape, dtype=dtype, device=source).normal_(std=0.02)
    settings = dict(placeholder.__dict__)
    settings.pop("SCB", None)
    module._is_hf_initialized = True
    quantized = type(placeholder)(weight, requires_grad=False, **settings).to(device)
    quantized._is_hf_initialized = (
        True  # as loaded weights are: some models initialise weights by their names
    )
    return quantized
