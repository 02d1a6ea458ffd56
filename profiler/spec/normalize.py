"""One form for every spelling of a trial: aliases, model names, and what depends on the model."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler.catalog import find_model
from profiler.errors import UsageError
from profiler.spec.frozen import thaw
from profiler.spec.methods import ALIASES, REQUIRED_OPTIONS, check_options
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# What each kind of catalogue model is trained for when no task is given. Masked language models are measured
# as classifiers of sequences, which is what they are fine-tuned into.
TASK_OF_MODEL = {
    "causal-lm": "causal-lm",
    "masked-lm": "sequence-classification",
    "sequence-classification": "sequence-classification",
    "seq2seq-lm": "seq2seq-lm",
    "image-classification": "image-classification",
    "image-feature-extraction": "image-classification",
}

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# What a class of transformers is trained for, by the end of its name.
_TASK_OF_CLASS = {
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
    "ForSequenceClassification": "sequence-classification",
    "ForConditionalGeneration": "seq2seq-lm",
    "ForImageClassification": "image-classification",
}


def normalize(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve the model and the method of a trial; the other settings are left as they are.

    Raises:
        UsageError: If the model, method or an option is unknown, a folder has no readable `config.json`, or
            an alias contradicts another setting.
    """
    values = {str(name): thaw(value) for name, value in settings.items() if value is not None}
    _resolve_model(values)
    _resolve_method(values)
    return values


def _resolve_model(values: dict[str, Any]) -> None:
    name = values.get("model")
    if name is None:
        raise UsageError("model is missing: give a catalogue name, a hub id or a folder with a config.json")
    if not isinstance(name, str) or not name.strip():
        raise UsageError(
            f"model must be a catalogue name, a hub id or a folder with a config.json, not {shown(name)}"
        )
    values.pop("model_fingerprint", None)
    try:
        facts = find_model(name)
    except UsageError as error:
        facts, unknown_model = None, error
    folder = os.path.expanduser(name)  # unlike pathlib's, never an error
    # A folder that happens to be called like a catalogue model is not meant, unless it holds a model.
    if os.path.isdir(folder) and (facts is None or os.path.isfile(os.path.join(folder, "config.json"))):
        config = read_config(Path(folder))
        values["model"] = str(Path(folder).resolve())
        values["model_fingerprint"] = _fingerprint(config)
        values.setdefault("task", _task_of_config(config))
        return
    if facts is None:
        if name.startswith((".", "/", "~")):
            raise UsageError(f"no folder {shown(name)}; a model folder holds a config.json")
        if not _HUB_ID.fullmatch(name):
            raise unknown_model
        return  # a hub id the catalogue does not know: its configuration is fetched when it is built
    values["model"] = facts.id
    if "task" not in values:
        if facts.task not in TASK_OF_MODEL:
            raise UsageError(f"{facts.id} is a {facts.task} model, which is not measurable yet")
        values["task"] = TASK_OF_MODEL[facts.task]


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a model folder.

    Raises:
        UsageError: If there is none, it is not JSON, or it names no `model_type`.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"the folder {folder} has no config.json") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        size = path.stat().st_size
        raise UsageError(f"{path} is {'empty' if size == 0 else 'not valid JSON'}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UsageError(f"{path} is not a model configuration: it has no model_type")
    return config


def _fingerprint(config: dict[str, Any]) -> str:
    # Not canonical_json: configurations of state-space models hold Infinity, which JSON proper does not have.
    text = json.dumps(config, sort_keys=True)
    # The prefix keeps spreadsheets and pandas from reading a run of digits as a number.
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _task_of_config(config: dict[str, Any]) -> str:
    architectures = config.get("architectures")
    for architecture in architectures if isinstance(architectures, list) else ():
        if task := task_of_class(str(architecture)):
            return task
        if str(architecture).endswith("ForMaskedLM"):
            return TASK_OF_MODEL["masked-lm"]
    return "causal-lm"


def task_of_class(name: str) -> str | None:
    """Return what a class of transformers is trained for, or None where no task of ours is it."""
    return next((task for ending, task in _TASK_OF_CLASS.items() if name.endswith(ending)), None)


def _resolve_method(values: dict[str, Any]) -> None:
    method = values.get("method", "full")
    if not isinstance(method, str):
        raise UsageError(f"method must be a text, not {shown(method)}")
    method = method.lower().replace("_", "-")
    options = values.get("method_options", {})
    if not isinstance(options, dict):
        raise UsageError(f"method_options must be a mapping, such as {{r: 32}}, not {shown(options)}")
    for name, implied in ALIASES.get(method, {}).items():
        if name == "method_options":
            for option, value in implied.items():
                if options.get(option, value) != value:
                    raise UsageError(
                        f"method {method} means {option}={value}, but {option}={options[option]}"
                    )
            options = {**options, **implied}
        elif name == "quantization":
            if values.setdefault(name, implied) == "none":
                raise UsageError(f"method {method} means a quantised model, but quantization is none")
        else:
            values["method"] = implied
    if method not in ALIASES:
        values["method"] = method
    method = values["method"]
    check_options(method, options)
    required = REQUIRED_OPTIONS.get(method, {})
    values["method_options"] = {**{k: v for k, v in required.items() if k not in options}, **options}
