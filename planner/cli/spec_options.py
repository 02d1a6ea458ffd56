"""The settings of a trial as options: one flag per field of `TrialSpec`, by its own name."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.cells import base_types
from profiler.spec.lengths import read_lengths
from profiler.spec.validation import shown
from profiler.spec.yaml_file import read_yaml
from profiler.sweep.file import TRIAL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FLAGS = tuple(name for name in TRIAL_FIELDS if name != "model")
_YAML = (".yaml", ".yml")
_KEYS_OF_SWEEPS = {"base", "grid", "together", "trials"}


def spec_options(
    command: Callable[..., None], *, model_required: bool = True, several: bool = False
) -> Callable[..., None]:
    """Add the argument MODEL, and a flag for every other field of a trial, to a command's function.

    The function is called with `model`, the text of the argument, and `settings`, a dict of those settings
    that the user gave; `spec_from_options` makes a `TrialSpec` of the two. It stands below `click.command`.

    Args:
        command: The function.
        model_required: Whether MODEL must be given; `model` is None if it need not and was not.
        several: Whether MODEL may be given more than once; `model` is a tuple then.
    """

    @functools.wraps(command)
    def collected(**values: Any) -> None:
        settings = {name: values.pop(name) for name in _FLAGS if name != "method_options"}
        settings["method_options"] = _read_options(values.pop("method_option"))
        settings["lengths"] = _read_lengths(settings["lengths"], values.pop("lengths_from"))
        command(**values, settings={name: value for name, value in settings.items() if value is not None})

    decorated: Callable[..., None] = collected
    for option in reversed([option for name in _FLAGS for option in _options_of(name)]):
        decorated = option(decorated)
    metavar = "MODEL|FILE.yaml" if model_required else "[MODEL|FILE.yaml]"
    if several:
        return click.argument("model", metavar=f"{metavar}...", required=model_required, nargs=-1)(decorated)
    return click.argument("model", metavar=metavar, required=model_required)(decorated)


def spec_from_options(model: str, settings: Mapping[str, Any]) -> TrialSpec:
    """Return the trial that a command line describes.

    Args:
        model: A model, or a YAML file (`.yaml`, `.yml`) with the settings of one trial.
        settings: The flags that were given; they override the file. Single method options do so too, unless
            the flags name another method: that one starts without the file's options.

    Raises:
        UsageError: If the file cannot be read or is a sweep, or the settings are not those of a trial.
    """
    path = Path(model)
    if path.suffix not in _YAML:
        return TrialSpec.parse({**settings, "model": model})
    in_file = {str(name): value for name, value in read_yaml(path).items()}
    if keys := _keys_of_sweeps(in_file):
        raise UsageError(f"{path} is a sweep, it has {', '.join(keys)}: run it with 'sizeup sweep {path}'")
    return TrialSpec.parse(overridden(in_file, settings), subject=None if settings else str(path))


def specs_from_options(model: str, settings: Mapping[str, Any]) -> list[TrialSpec]:
    """Return every trial of a sweep file, or the one that `spec_from_options` gives.

    Raises:
        UsageError: As `spec_from_options`; or if there are settings beside a sweep file.
    """
    path = Path(model)
    if not _is_sweep(path):
        return [spec_from_options(model, settings)]
    from profiler.sweep.file import SweepFile
    from profiler.sweep.plan import plan

    if settings:
        raise UsageError(f"flags do not change a sweep file: leave them out, or change {path}")
    return list(plan(SweepFile.read(path)).specs)


def _is_sweep(path: Path) -> bool:
    return path.suffix in _YAML and bool(_keys_of_sweeps({str(name) for name in read_yaml(path)}))


def _keys_of_sweeps(names: Iterable[str]) -> list[str]:
    return sorted(_KEYS_OF_SWEEPS.intersection(names))


def overridden(in_file: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file with those of flags over them, as `spec_from_options` says."""
    merged = {**in_file, **settings}
    if settings.get("method", in_file.get("method")) != in_file.get("method"):
        merged["method_options"] = settings.get("method_options")
    elif isinstance(options := in_file.get("method_options"), Mapping):
        merged["method_options"] = {**options, **settings.get("method_options", {})}
    return merged


def _options_of(name: str) -> list[Callable[[Any], Any]]:
    field = TrialSpec.model_fields[name]
    flag, kinds = f"--{name.replace('_', '-')}", base_types(field.annotation)
    text = f"{field.description}  [default: {_shown(name, field.default)}]"
    if name == "method_options":
        return [
            click.option(
                "--method-option",
                metavar="NAME=VALUE",
                multiple=True,
                help="Option of the method (repeatable), such as r=32 or 'target_modules=[\"q_proj\"]'; "
                "values are JSON, bare words are texts.",
            )
        ]
    if name == "lengths":
        return [
            click.option("--lengths", metavar="JSON", help=text),
            click.option(
                "--lengths-from",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Take the histogram of lengths from a JSON-lines file: a length, or an object with "
                "length, num_tokens or input_ids, per line.",
            ),
        ]
    if kinds == {bool}:
        return [click.option(f"{flag}/--no-{flag[2:]}", default=None, help=text)]
    kind: Any = str
    if choices := _choices(field.annotation):
        kind = _Choice(choices)
    elif int in kinds:
        kind = click.INT
    elif float in kinds:
        kind = click.FLOAT
    return [click.option(flag, type=kind, help=text)]


class _Choice(click.Choice[Any]):
    """A choice of texts and booleans, which are typed as `true` and `false`."""

    def __init__(self, values: list[Any]) -> None:
        self._values = {_word(value): value for value in values}
        super().__init__(list(self._values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._values[super().convert(value, param, ctx)]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _choices(annotation: Any) -> list[Any]:
    """Return the values of a field that allows only some; `Literal["auto"] | bool` allows three."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    members = get_args(annotation)
    literals = [value for member in members for value in _choices(member)]
    return [*literals, True, False] if literals and bool in base_types(annotation) else literals


def _shown(name: str, default: Any) -> str:
    if name == "task":
        return "the model's"
    if default is None:
        return "none"
    return _word(default)


def _read_options(pairs: tuple[str, ...]) -> dict[str, Any] | None:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"--method-option must be NAME=VALUE, such as r=32, not {shown(pair)}")
        try:
            options[name] = json.loads(text)
        except (ValueError, RecursionError):
            if text.lstrip()[:1] in ("[", "{", '"'):
                raise UsageError(f"--method-option {name}: {shown(text)} is not JSON") from None
            options[name] = text
    return options or None


def _read_lengths(text: str | None, path: Path | None) -> Any:
    if text is not None and path is not None:
        raise UsageError("give --lengths or --lengths-from, not both")
    if path is not None:
        return read_lengths(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(
            f'--lengths must be JSON, such as [512, 128] or {{"512": 3}}, not {shown(text)}'
        ) from None
