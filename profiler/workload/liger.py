"""Liger's fused linear cross-entropy, put into a model as HF Trainer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    import torch


def apply_liger(model: Any, device: torch.device) -> None:
    """Let the model compute its loss without ever holding all logits.

    Raises:
        NotPossibleError: If the device is no GPU, the package is missing or it does not know the model.
    """
    if device.type != "cuda":
        raise NotPossibleError("loss_kernel liger is written in Triton and needs a CUDA device")
    try:
        from transformers.integrations.liger import apply_liger_kernel

        only_loss = {"rope": False, "swiglu": False, "rms_norm": False, "fused_linear_cross_entropy": True}
        apply_liger_kernel(model, only_loss)
    except (ImportError, TypeError) as error:
        raise NotPossibleError(f"loss_kernel liger cannot be applied: {error}") from None
