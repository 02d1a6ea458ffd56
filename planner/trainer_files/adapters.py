"""Options of adapters, which every format has under names of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.trainer_files.rules import Edit
    from planner.trainer_files.values import Values

# What peft takes for an option that is not given (peft/tuners/lora/config.py and peft/tuners/oft/config.py,
# 0.21.2). An option at this value is left out of a trial.
OPTION_DEFAULTS: dict[str, dict[str, Any]] = {
    "lora": {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "use_dora": False, "use_rslora": False,
             "bias": "none"},
    "oft": {"r": 0, "oft_block_size": 32, "module_dropout": 0.0, "bias": "none"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a PEFT configuration that is one key of a file."""

    key: str
    name: str
    read: Callable[[Values], Any]


def read_options(values: Values, method: str, options: Sequence[Option]) -> dict[str, Any]:
    """Return the options of a method that are not at peft's default."""
    found = {option.name: option.read(values) for option in options}
    return without_defaults(method, found)


def edit_options(method: str, wanted: Mapping[str, Any], options: Sequence[Option]) -> Edit:
    """Return the keys that give a method the options that are wanted, those at peft's default included."""
    defaults = OPTION_DEFAULTS[method]
    return {option.key: wanted.get(option.name, defaults.get(option.name)) for option in options}


def without_defaults(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that are absent or at peft's default."""
    defaults = OPTION_DEFAULTS.get(method, {})
    return {
        name: value for name, value in options.items() if value is not None and value != defaults.get(name)
    }


def all_linear(words: list[str] | str | None, name: str) -> list[str] | str | None:
    """Return target modules as peft names them: `name` alone is how a format says all linear layers."""
    return "all-linear" if words in (name, [name]) else words
