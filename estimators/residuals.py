"""How far the symbolic engine has been from what others measured."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """An interval of (measured - predicted) / predicted that holds at a level."""

    level: float
    low: float
    high: float
    rows: int
    """Published measurements it was found on."""
    source: str


@functools.cache
def memory_residuals() -> Residuals:
    """Return the residuals of reserved memory, as `benchmarks/published_memory.py --write` found them."""
    text = resources.files("estimators").joinpath("memory_residuals.json").read_text(encoding="utf-8")
    return Residuals(**json.loads(text))
