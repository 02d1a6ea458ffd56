"""Saved adapter configurations (`adapter_config.json`) as a method and its options."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a saved configuration holds besides the choices of its method.
_BOOKKEEPING = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version",
                "revision", "task_type"}  # fmt: skip


def adapter_method(adapter: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Return the method and the options of a saved configuration; None is a full fine-tune.

    Options at the installed peft's default are left out, as in trials that people write: the trials are then
    the same.

    Raises:
        UsageError: If it names no PEFT type.
    """
    if adapter is None:
        return "full", {}
    if not isinstance(peft_type := adapter.get("peft_type"), str):
        raise UsageError(f"peft_type must be a text, not {shown(peft_type)}")
    defaults = _defaults(peft_type)
    options = {
        name: value
        for name, value in adapter.items()
        if name not in _BOOKKEEPING
        and value not in (None, {})  # neither of which chooses anything
        and not (name in defaults and defaults[name] == value)
    }
    return peft_type.lower().replace("_", "-"), options


@functools.cache
def _defaults(peft_type: str) -> dict[str, Any]:
    """Return the defaults of a configuration; none where the installed peft does not have the type."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it; it warns of missing extras
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config = next(
        (kind for name, kind in PEFT_TYPE_TO_CONFIG_MAPPING.items() if name.value == peft_type), None
    )
    if config is None:
        return {}
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(config)
    }
