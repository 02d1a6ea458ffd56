"""Keys of trainers that are no part of a trial: `other_keys.json` lists them, and why each is none."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class OtherKeys:
    """Keys of a format that no rule reads."""

    without_effect: frozenset[str]
    """Keys that cost no memory in a step."""
    unmapped: Mapping[str, str]
    """Keys that may change what a step costs, each with what the figures assume instead."""


def other_keys(*sections: str) -> OtherKeys:
    """Return the keys of some sections of the list, a format's own and those that it shares with others."""
    parts = [_listed()[section] for section in sections]
    return OtherKeys(
        without_effect=frozenset(key for part in parts for key in part["without_effect"]),
        unmapped={key: reason for part in parts for key, reason in part["unmapped"].items()},
    )


@functools.cache
def _listed() -> dict[str, Any]:
    text = resources.files("planner.trainer_files").joinpath("other_keys.json").read_text(encoding="utf-8")
    listed: dict[str, Any] = json.loads(text)
    return listed
