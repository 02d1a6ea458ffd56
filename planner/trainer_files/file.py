"""`read_trainer_file`: a trainer's configuration file as the settings of a trial."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.trainer_files.axolotl import AXOLOTL
from planner.trainer_files.hugging_face import HUGGING_FACE, TRL
from planner.trainer_files.llama_factory import LLAMA_FACTORY
from planner.trainer_files.rules import Format, NotUnderstood, Reading
from planner.trainer_files.values import Values
from profiler.errors import UsageError
from profiler.spec.frozen import freeze
from profiler.spec.validation import shown
from profiler.spec.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# In the order in which they are tried: each later one shares its keys with an earlier one.
FORMATS = (AXOLOTL, LLAMA_FACTORY, TRL, HUGGING_FACE)

_TRACKERS = ("wandb_", "mlflow_", "comet_", "swanlab_", "trackio_", "gradio_", "hub_")
_PARALLEL = ("_size", "_degree")


@dataclass(frozen=True, kw_only=True)
class IgnoredKeys:
    """Keys of a file that are not part of its trial."""

    without_effect: tuple[str, ...]
    """Keys that cost no memory in a step, such as `learning_rate`, or that switch something off."""
    not_understood: tuple[NotUnderstood, ...]
    """Keys that are not known, and values that no trial can have."""


@dataclass(frozen=True, kw_only=True)
class TrainerFile:
    """A trainer's configuration file, and the trial that it stands for."""

    path: Path
    format: str
    """`axolotl`, `llama-factory`, `trl` or `hugging-face` (plain TrainingArguments)."""
    settings: Mapping[str, Any]
    """Fields of a trial, for `TrialSpec.parse`; those that the file leaves open are absent, the model too."""
    ignored: IgnoredKeys
    notes: tuple[str, ...]
    """What was assumed, in sentences."""


def read_trainer_file(path: Path) -> TrainerFile:
    """Read the configuration file of axolotl, LLaMA-Factory, TRL or transformers.

    Keys that are left out have the trainer's own default.

    Args:
        path: A YAML file, or a JSON one if it ends in `.json`.

    Raises:
        UsageError: If the file cannot be read, is not YAML or JSON, is of no known format, or a value is of
            the wrong type.
    """
    return interpret(load(path), path)


def interpret(content: Mapping[str, Any], path: Path) -> TrainerFile:
    """Return what the content of a file means.

    Raises:
        UsageError: If it is of no known format, or a value is of the wrong type.
    """
    kind = find_format(content, path)
    readings = [rule.read(Values(content, str(path))) for rule in kind.rules]
    settings: dict[str, Any] = {}
    for reading in readings:
        settings |= reading.settings
    return TrainerFile(
        path=path,
        format=kind.name,
        settings=freeze(settings),
        ignored=_ignored(content, kind, readings),
        notes=tuple(dict.fromkeys((*kind.notes, *(note for reading in readings for note in reading.notes)))),
    )


def find_format(content: Mapping[str, Any], path: Path) -> Format:
    """Recognise the format of a file by its keys.

    Raises:
        UsageError: If it is none that is known.
    """
    for kind in FORMATS:
        if kind.marks & content.keys():
            return kind
    raise UsageError(
        f"{path} is no file of axolotl, LLaMA-Factory, TRL or transformers' TrainingArguments: it has none "
        "of their keys, such as micro_batch_size, cutoff_len, max_length or per_device_train_batch_size"
    )


def is_json(path: Path) -> bool:
    """Whether a file is read and written as JSON."""
    return path.suffix.lower() == ".json"


def load(path: Path) -> dict[str, Any]:
    """Read the keys and values of a file.

    Raises:
        UsageError: If it cannot be read, is empty, or holds something other than a mapping.
    """
    content = _read_json(path) if is_json(path) else read_yaml(path)
    return {str(key): value for key, value in content.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, or a name that no file can have
        raise UsageError(f"cannot read {path}: it is not a text file in UTF-8") from error
    if not text.strip():
        raise UsageError(f"{path} is empty")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold a mapping of settings, not {shown(content)}")
    return content


def _ignored(content: Mapping[str, Any], kind: Format, readings: list[Reading]) -> IgnoredKeys:
    strange = [found for reading in readings for found in reading.not_understood]
    without_effect = []
    for key, value in content.items():
        if key in kind.known_keys:
            continue
        if key in kind.other_keys.without_effect or key.startswith(_TRACKERS) or _is_off(key, value):
            without_effect.append(key)
        else:
            reason = kind.other_keys.unmapped.get(key, f"it is no key of {kind.name} that sizeup knows")
            strange.append(NotUnderstood(key=key, reason=reason))
    return IgnoredKeys(without_effect=tuple(without_effect), not_understood=tuple(strange))


def _is_off(key: str, value: Any) -> bool:
    return not value or (value == 1 and not isinstance(value, bool) and key.endswith(_PARALLEL))
