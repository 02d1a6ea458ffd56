"""`write_trainer_file`: a trainer's file with the changes that make it mean another trial."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.trainer_files.adapters import without_defaults
from planner.trainer_files.file import find_format, interpret, is_json, load
from planner.trainer_files.text_edit import edit_json, edit_yaml
from planner.trainer_files.values import Values
from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.frozen import thaw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.trainer_files.file import TrainerFile
    from planner.trainer_files.rules import Edit, Rule


def write_trainer_file(source: TrainerFile, spec: TrialSpec, target: Path) -> list[str]:
    """Write a copy of a file in which the keys are changed that must be, so that it means `spec`.

    Everything else stays as it is, a YAML file's comments too. Before anything is written, the new text is
    read again and must give `spec`; options of adapters at peft's default count as left out.

    Args:
        source: The file as it was read.
        spec: A trial of the same model.
        target: Where to; nothing may be there yet.

    Returns:
        What was changed, a line per key, such as `micro_batch_size: 4 -> 2`, and per field that the trainer
        settles by itself.

    Raises:
        UsageError: If something is at `target` already or it cannot be written, the source is gone, the spec
            is of another model, or it has a field that files of this format cannot say.
    """
    _refuse_existing(target)
    if is_json(source.path) != is_json(target):
        kind = "JSON" if is_json(source.path) else "YAML"
        raise UsageError(f"{target} must be {kind} by its ending, as {source.path} is")
    content = load(source.path)
    file_format = find_format(content, source.path)
    values = Values(content, str(source.path))
    for rule in file_format.rules:
        values = values.with_changes(_edit(rule, spec, values))
    changes = {
        key: values.content.get(key)
        for key in [*content, *(key for key in values.content if key not in content)]
        if values.content.get(key) != content.get(key)
    }
    edited = (edit_json if is_json(source.path) else edit_yaml)(_text(source.path), content, changes)
    settled = _check(edited, source, spec, settled=file_format.settled)
    _write(target, edited)
    return [_line(key, content.get(key), value) for key, value in changes.items()] + settled


def _edit(rule: Rule, spec: TrialSpec, values: Values) -> Edit:
    """Return the keys to change so that a rule reads `spec`; none where no edit does."""
    if not rule.fields or _agrees(rule, spec, values):
        return {}
    for proposal in rule.propose(spec, values):
        edit = {key: thaw(value) for key, value in proposal.items()}
        if not _agrees(rule, spec, values.with_changes(edit)):
            continue
        for key in list(edit):
            rest = {other: value for other, value in edit.items() if other != key}
            if _agrees(rule, spec, values.with_changes(rest)):
                edit = rest
        return edit
    return {}


def _agrees(rule: Rule, spec: TrialSpec, values: Values) -> bool:
    try:
        read = _spec_of(rule.read(values).settings, spec)
    except UsageError:
        return False
    return all(_comparable(read, field) == _comparable(spec, field) for field in rule.fields)


def _spec_of(settings: Mapping[str, Any], like: TrialSpec) -> TrialSpec:
    """Return the trial of some settings; a file that names no model or task is one of the wanted trial's."""
    return TrialSpec.parse({"model": like.model, "task": like.task, **settings})


def _comparable(spec: TrialSpec, field: str) -> Any:
    value = thaw(getattr(spec, field))
    if field != "method_options":
        return value
    return {
        name: sorted(option, key=str) if isinstance(option, list) else option
        for name, option in without_defaults(spec.method, value).items()
    }


def _check(edited: str, source: TrainerFile, spec: TrialSpec, *, settled: frozenset[str]) -> list[str]:
    """Refuse a text that does not mean `spec`; return a line for each field that the trainer settles."""
    again = _spec_of(interpret(_parsed(edited, source.path), source.path).settings, spec)
    if again.model != spec.model:
        raise UsageError(f"{source.path} trains {again.model}, so it cannot be written for {spec.model}")
    differing = [
        name for name in TrialSpec.model_fields if _comparable(again, name) != _comparable(spec, name)
    ]
    if unsaid := [name for name in differing if name not in settled]:
        listed = ", ".join(f"{name}: {_shown(thaw(getattr(spec, name)))}" for name in unsaid)
        raise UsageError(f"a file of {source.format} cannot say {listed} (with the rest of {source.path})")
    return [
        f"{name}: {source.format} has it {_shown(getattr(again, name))}, not {_shown(getattr(spec, name))}"
        for name in differing
    ]


def _parsed(edited: str, path: Path) -> dict[str, Any]:
    """Read a text as the file would be read."""
    with tempfile.TemporaryDirectory(prefix="sizeup-trainer-file-") as folder:
        written = Path(folder) / path.name
        written.write_text(edited, encoding="utf-8", newline="")
        try:
            return load(written)
        except UsageError as error:
            problem = str(error).removeprefix(str(written))
            raise UsageError(f"{path} cannot be changed line by line: it would break{problem}") from None


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:  # line ends as they are
        return file.read()


def _refuse_existing(target: Path) -> None:
    try:
        is_there = target.exists() or target.is_symlink()
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    if is_there:
        raise UsageError(f"{target} is there already; name a file that is not")


def _write(target: Path, text: str) -> None:
    try:
        file = target.open("x", encoding="utf-8", newline="")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from error
    try:
        with file:
            file.write(text)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


def _line(key: str, old: Any, new: Any) -> str:
    if old is None:
        return f"{key}: {_shown(new)} (added)"
    return f"{key}: {_shown(old)} (taken out)" if new is None else f"{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
