"""The catalogue of models: architecture facts from which each is built offline, without weights.

`models.json` maps a hub id to its configuration, exact parameter count, licence and source. A count marked
`checked` met a public count; `tests/profiler/catalog` builds every entry and compares.
"""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from profiler.errors import unknown


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One model of the catalogue."""

    id: str
    """The hub id."""
    task: str
    """What the model was made for, such as `causal-lm` or `masked-lm`."""
    parameters: int
    """Exact number of parameters; tied weights once, buffers not counted."""
    _config: dict[str, Any] = field(repr=False, compare=False)
    aliases: tuple[str, ...] = ()
    """Other hub ids and short names with the same shapes."""
    licence: str | None = None
    source: str = field(default="", repr=False)
    checked: bool = False
    """Whether the count built here met a public count."""
    count_source: str | None = field(default=None, repr=False)
    built_parameters: int | None = field(default=None, repr=False)
    """What the installed transformers builds, where that is not `parameters`."""
    note: str | None = field(default=None, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """Fields of the hub's `config.json`; what is left out is the class default.

        A copy of your own: transformers writes into the mappings it is given.
        """
        return copy.deepcopy(self._config)


@functools.cache
def models() -> dict[str, ModelFacts]:
    """Return every model of the catalogue by hub id."""
    text = resources.files("profiler.catalog").joinpath("models.json").read_text(encoding="utf-8")
    return {
        model_id: ModelFacts(
            id=model_id, _config=entry.pop("config"), aliases=tuple(entry.pop("aliases", ())), **entry
        )
        for model_id, entry in json.loads(text).items()
    }


@functools.cache
def _by_name() -> dict[str, ModelFacts]:
    return {name.casefold(): model for model in models().values() for name in (model.id, *model.aliases)}


def find_model(name: str) -> ModelFacts:
    """Return the model with this hub id or alias, whatever its case.

    Raises:
        UsageError: If the catalogue has none; it names the nearest.
    """
    if found := _by_name().get(name.casefold()):
        return found
    known = [spelling for model in models().values() for spelling in (model.id, *model.aliases)]
    raise unknown("model", name, known, hint="('sizeup models' lists them)")
