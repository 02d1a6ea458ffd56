"""`SweepFile`: what a sweep file says, checked.

    name: quickstart                   # default: the file's name
    device: cpu                        # default: the command decides
    repeats: 3                         # fresh processes per trial
    stop_after_oom: true               # leave out larger batches once one ran out of memory
    retries: 1                         # further attempts after a failure that may be a whim
    protocol: {warmup_min_steps: 2}    # how to measure
    base: {sequence_length: 128}       # settings of every trial
    grid:                              # every combination of these lists
      model: [smollm2-135m, pythia-70m]
      method: [full, lora]
    together:                          # settings that change together; lists of lists are several axes
      - {precision: bf16, optimizer: adamw}
      - {precision: fp32, optimizer: sgd}
    trials:                            # more trials, each over base
      - {model: gpt2, method: head}
    skip:                              # trials to leave out
      - method == "full" and precision == "fp32"

`skip` sees the settings of the finished trial under the names and values that results have, not as the file
spells them: the model is `EleutherAI/pythia-70m`, and `qlora` is method `lora` with quantization `nf4`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from profiler.errors import UsageError, unknown
from profiler.expression import Expression
from profiler.spec import TrialSpec
from profiler.spec.frozen import freeze
from profiler.spec.lengths import parse_lengths
from profiler.spec.trial import Count, Flag, Frozen
from profiler.spec.validation import shown, usage_error
from profiler.spec.yaml_file import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

# The fingerprint of a model folder is computed, never given.
TRIAL_FIELDS = tuple(name for name in TrialSpec.model_fields if name != "model_fingerprint")

Settings = Annotated[Mapping[str, Any], Frozen]


class SweepFile(BaseModel):
    """A sweep as a person wrote it, frozen; `profiler.sweep.plan` turns it into trials."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str = Field(description="Name of the sweep in the store.", min_length=1, strict=True)
    device: str | None = Field(
        default=None, description="Where to measure; by default the command decides.", min_length=1
    )
    repeats: Count = Field(default=1, description="Fresh processes per trial.")
    stop_after_oom: Flag = Field(
        default=True, description="Skip a trial once the same with a smaller batch ran out of memory."
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=1, description="Further attempts after a transient failure."
    )
    protocol: Settings = Field(default_factory=lambda: freeze({}), description="Settings of the harness.")
    base: Settings = Field(default_factory=lambda: freeze({}), description="Settings of every trial.")
    grid: Annotated[Mapping[str, tuple[Any, ...]], Frozen] = Field(
        default_factory=lambda: freeze({}), description="Lists whose every combination is tried."
    )
    together: Annotated[tuple[tuple[Settings, ...], ...], Frozen] = Field(
        default=(), description="Axes of settings that change together."
    )
    trials: Annotated[tuple[Settings, ...], Frozen] = Field(
        default=(), description="More trials, each over base, not combined with anything."
    )
    skip: tuple[str, ...] = Field(default=(), description="Conditions on trials to leave out.")

    _subject: str = PrivateAttr(default="the sweep")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a sweep file.

        Raises:
            UsageError: If it cannot be read, is not YAML (the line and column are named), or is no sweep.
        """
        return cls.parse(read_yaml(path), name=path.stem, subject=str(path))

    @classmethod
    def parse(cls, settings: Mapping[Any, Any], *, name: str = "sweep", subject: str = "the sweep") -> Self:
        """Check the content of a sweep file.

        Args:
            settings: The file's keys and values.
            name: What the sweep is called unless it says so itself.
            subject: What the sentence about an error begins with, such as the file's name.

        Raises:
            UsageError: If a key or a value is not allowed.
        """
        given = {str(key): value for key, value in settings.items() if value is not None}
        try:
            sweep = cls.model_validate({"name": name, **given})
        except ValidationError as error:
            raise usage_error(error, cls, subject=subject) from None
        except UsageError as error:
            raise UsageError(f"{subject}: {error}") from None
        sweep._subject = subject
        return sweep

    @property
    def subject(self) -> str:
        """What sentences about it begin with: the file it came from."""
        return self._subject

    @model_validator(mode="before")
    @classmethod
    def _refuse_settings_at_the_top(cls, value: Any) -> Any:
        for key in value:
            if key in TRIAL_FIELDS:
                raise UsageError(f"{key} is a setting of trials: put it under base, or as a list under grid")
        return value

    @field_validator("protocol", mode="plain")
    @classmethod
    def _check_protocol(cls, value: Any) -> Any:
        return _frozen(_mapping(value, "protocol"), "protocol")

    @field_validator("base", mode="plain")
    @classmethod
    def _check_base(cls, value: Any) -> Any:
        return _settings(value, "base")

    @field_validator("grid", mode="plain")
    @classmethod
    def _check_grid(cls, value: Any) -> Any:
        axes: dict[str, Any] = {}
        for name, values in _mapping(value, "grid").items():
            _check_field(name, "grid")
            if not isinstance(values, list | tuple):
                raise UsageError(
                    f"grid: {name} must be a list, not {shown(values)}; write [{shown(values)}], "
                    "or set it under base"
                )
            if not values:
                raise UsageError(f"grid: {name} is an empty list")
            axes[name] = tuple(_setting(name, item, "grid") for item in values)
        return MappingProxyType(axes)  # in the order of the file, which is the order of the trials

    @field_validator("together", mode="plain")
    @classmethod
    def _check_together(cls, value: Any) -> Any:
        entries = _list(value, "together")
        if all(isinstance(entry, Mapping) for entry in entries):
            entries = [entries] if entries else []
        elif not all(isinstance(entry, list | tuple) for entry in entries):
            raise UsageError("together must be a list of mappings, or a list of lists of mappings")
        if not all(entries):
            raise UsageError("together holds an empty list")
        return tuple(tuple(_settings(entry, "together") for entry in axis) for axis in entries)

    @field_validator("trials", mode="plain")
    @classmethod
    def _check_trials(cls, value: Any) -> Any:
        return tuple(_settings(entry, "trials") for entry in _list(value, "trials"))

    @field_validator("skip", mode="before")
    @classmethod
    def _check_skip(cls, value: Any) -> Any:
        conditions = [value] if isinstance(value, str) else _list(value, "skip")
        for condition in conditions:
            if not isinstance(condition, str):
                raise UsageError(f"skip must hold conditions as texts, not {shown(condition)}")
            try:
                Expression.parse(condition, names=TRIAL_FIELDS)
            except UsageError as error:
                raise UsageError(f"skip: {error}") from None
        return tuple(conditions)

    @model_validator(mode="after")
    def _refuse_two_places(self) -> Self:
        places = [("base", set(self.base)), ("grid", set(self.grid))]
        places += [("together", {name for entry in axis for name in entry}) for axis in self.together]
        for (place, names), (other, other_names) in itertools.combinations(places, 2):
            if twice := sorted(names & other_names):
                where = f"both {place} and {other}" if place != other else f"two axes of {place}"
                raise UsageError(f"{twice[0]} is set in {where}; set it in one of them")
        return self


def _mapping(value: Any, place: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{place} must hold settings, such as {{batch_size: 4}}, not {shown(value)}")
    return value


def _list(value: Any, place: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{place} must be a list, not {shown(value)}")
    return value


def _settings(value: Any, place: str) -> Mapping[str, Any]:
    settings = _mapping(value, place)
    for name in settings:
        _check_field(name, place)
    return MappingProxyType({name: _setting(name, item, place) for name, item in settings.items()})


def _check_field(name: Any, place: str) -> None:
    if name not in TRIAL_FIELDS:
        raise UsageError(f"{place}: {unknown('field', str(name), TRIAL_FIELDS)}")


def _setting(name: str, value: Any, place: str) -> Any:
    if name == "lengths":  # the one setting whose keys YAML reads as numbers
        try:
            value = parse_lengths(value)
        except ValueError as error:
            raise UsageError(f"{place}: {error}") from None
    return _frozen(value, f"{place}: {name}")


def _frozen(value: Any, place: str) -> Any:
    try:
        return freeze(value)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from None
