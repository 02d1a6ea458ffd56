"""How many parameters a model has, and how many of them are trained."""

from __future__ import annotations

from typing import Any


def count_parameters(model: Any) -> dict[str, int]:
    """Return the figures `trainable_parameters` and `total_parameters`; tied weights count once.

    Packed weights count as what they stand for: a 4-bit weight keeps its shape in its quantisation state.
    """
    counts = [(_elements(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return {
        "trainable_parameters": sum(count for count, is_trained in counts if is_trained),
        "total_parameters": sum(count for count, _ in counts),
    }


def _elements(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(parameter.numel())
