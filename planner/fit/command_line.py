"""`command_line`: a trial as the command that a person would type."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


def command_line(spec: TrialSpec, command: str = "measure", options: Sequence[str] = ()) -> str:
    """Return a command with the flags that say exactly this trial, quoted for a shell.

    Args:
        spec: The trial.
        command: A command that takes the flags of a trial, such as `measure` or `fit`.
        options: Further words of the command line, such as `["--gpu", "l40s"]`.
    """
    words = ["sizeup", command, spec.model]
    for name, value in spec.canonical.items():
        if name in ("model", "model_fingerprint") or (name == "task" and _is_task_of_model(spec)):
            continue
        words += _words(name, value)
    return shlex.join([*words, *options])


def _is_task_of_model(spec: TrialSpec) -> bool:
    try:
        return TrialSpec.parse({"model": spec.model}).task == spec.task
    except UsageError:
        return False


def _words(name: str, value: Any) -> list[str]:
    if name == "method_options":
        return [
            word for option, item in value.items() for word in ("--method-option", f"{option}={_json(item)}")
        ]
    flag = f"--{name.replace('_', '-')}"
    if name == "lengths":
        return [flag, json.dumps(value)]
    if isinstance(value, bool) and name != "use_cache":
        return [flag if value else f"--no-{flag[2:]}"]
    return [flag, value if isinstance(value, str) else json.dumps(value)]


def _json(value: Any) -> str:
    """Return an option's value as JSON, or as a bare word where that is read as the same text."""
    text = json.dumps(value)
    if not isinstance(value, str) or value.lstrip()[:1] in ("[", "{", '"'):
        return text
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value
    return text
