"""The transformers configuration of a trial's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profiler.model_config import model_configuration

if TYPE_CHECKING:
    from profiler.spec import TrialSpec


def load_config(spec: TrialSpec) -> Any:
    """Return the configuration that the step of a trial is built from.

    Raises:
        SizeupError: As `model_configuration`.
    """
    config = model_configuration(spec.model)
    if spec.use_cache != "auto":
        config.use_cache = spec.use_cache
    text = config.get_text_config()
    if getattr(text, "pad_token_id", None) is None:
        text.pad_token_id = 0  # classifiers find the last token by it; the id itself costs nothing
    return config
