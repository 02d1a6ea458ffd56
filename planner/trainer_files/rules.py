"""What the tables of the formats are made of: rules between keys of a file and fields of a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from planner.trainer_files.other_keys import OtherKeys
    from planner.trainer_files.values import Values
    from profiler.spec import TrialSpec

Edit = dict[str, Any]
"""Keys of a file and their new values; None takes a key out."""


@dataclass(frozen=True, kw_only=True)
class NotUnderstood:
    """A key that may cost memory or time and is not part of the trial, or not as it is meant."""

    key: str
    reason: str
    """Why, and what the figures assume in its place."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a rule found in a file."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a trial; one that the file leaves open is absent."""
    notes: tuple[str, ...] = ()
    not_understood: tuple[NotUnderstood, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How some keys of a file decide some fields of a trial, in both directions."""

    fields: tuple[str, ...]
    keys: tuple[str, ...]
    read: Callable[[Values], Reading]
    propose: Callable[[TrialSpec, Values], Iterable[Edit]] = lambda spec, values: ()
    """Edits that might make a file mean this trial, the best first. The first that reads back as the trial is
    taken, without those of its keys that turn out not to matter: so an edit may say more than it must."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file."""

    name: str
    marks: frozenset[str]
    """Keys that only files of this format have, compared with the formats after it."""
    rules: tuple[Rule, ...]
    """In an order in which no rule reads a key that a later one may edit."""
    other_keys: OtherKeys
    """Keys that no rule reads."""
    notes: tuple[str, ...] = ()
    """What is assumed about every file."""
    settled: frozenset[str] = frozenset()
    """Fields that the trainer settles by itself, whatever is wanted."""

    @property
    def known_keys(self) -> frozenset[str]:
        """Every key that some rule reads."""
        return frozenset(key for rule in self.rules for key in rule.keys)


def plain(field_name: str, key: str, read: Callable[[Values], Any]) -> Rule:
    """Return the rule of a field that is one key with the same values; a reading of None leaves it open."""

    def read_field(values: Values) -> Reading:
        value = read(values)
        return Reading(settings={} if value is None else {field_name: value})

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        yield {key: getattr(spec, field_name)}

    return Rule(fields=(field_name,), keys=(key,), read=read_field, propose=propose)


def constant(field_name: str, value: Any) -> Rule:
    """Return the rule of a field that no key decides: the trainer always has it so."""
    return Rule(fields=(field_name,), keys=(), read=lambda values: Reading(settings={field_name: value}))


def model_rule(key: str) -> Rule:
    """Return the rule of the key that names the model, which is never rewritten."""

    def read(values: Values) -> Reading:
        if key in values:
            return Reading(settings={"model": values.text(key, "")})
        return Reading(notes=(f"The file names no model ({key}); give one.",))

    return Rule(fields=("model",), keys=(key,), read=read)


def choice(
    field_name: str,
    key: str,
    table: Mapping[str, str],
    *,
    default: str,
    near: Mapping[str, str] | None = None,
) -> Rule:
    """Return the rule of a field whose values have other names in the file.

    Args:
        field_name: The field.
        key: The key.
        table: Names in the file and values of the field; of several names for a value, the first is written.
        default: The field's value where the file says nothing, or something unknown.
        near: Names in the file that are taken as a value of the field without being quite the same.
    """
    near = near or {}

    def read(values: Values) -> Reading:
        if key not in values:
            return Reading(settings={field_name: default})
        name = values.text(key, "")
        if name in table:
            return Reading(settings={field_name: table[name]})
        value = near.get(name, default)
        reason = f"{name} is not modelled; {field_name} {value} is assumed"
        return Reading(settings={field_name: value}, not_understood=(NotUnderstood(key=key, reason=reason),))

    def propose(spec: TrialSpec, values: Values) -> Iterable[Edit]:
        wanted = getattr(spec, field_name)
        yield from ({key: name} for name, value in table.items() if value == wanted)
        yield {key: None}

    return Rule(fields=(field_name,), keys=(key,), read=read, propose=propose)
