"""Puts the substitution in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import data_sets, hub, weights
from .models import HollowModels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def install(imports: Any, settings: Mapping[str, Any], note: Callable[[str], None]) -> None:
    """Act on the libraries that load models, once the script has imported them.

    Args:
        imports: Has `after(name, action)`, which calls `action(module)` right after a module was executed.
        settings: What `profiler.hollow.substitution_settings` returned.
        note: Takes sentences for the report.
    """
    models = HollowModels(settings, note)
    imports.after("huggingface_hub.file_download", lambda module: hub.guard_files(module, models))
    imports.after("huggingface_hub._snapshot_download", lambda module: hub.guard_snapshots(module, models))
    imports.after("huggingface_hub.hf_api", lambda module: hub.guard_api(module, models))
    imports.after("transformers.core_model_loading", weights.guard_conversion)
    imports.after("transformers.modeling_utils", weights.guard_reading)
    imports.after("datasets", lambda module: data_sets.guard_loading(module, note))
