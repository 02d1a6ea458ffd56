"""`Values`: the keys of a trainer's file, read with the type that each must have."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec.lengths import LARGEST_COUNT
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping


class Values:
    """The top-level keys of a file, frozen; a key without a value (`null`) counts as not said.

    Every reader returns `default` for a key that is not said.

    Args:
        content: Keys to values.
        subject: What the sentence about a wrong value begins with, such as the file's name.
    """

    def __init__(self, content: Mapping[str, Any], subject: str) -> None:
        self.content = MappingProxyType(dict(content))
        self.subject = subject

    def __contains__(self, key: str) -> bool:
        return self.content.get(key) is not None

    def with_changes(self, changes: Mapping[str, Any]) -> Values:
        """Return a copy with some keys set; a value of None takes the key out."""
        content = {**self.content, **changes}
        return Values({key: value for key, value in content.items() if changes.get(key, key) is not None},
                      self.subject)  # fmt: skip

    def raw(self, key: str, default: Any = None) -> Any:
        """Return the value as it is."""
        value = self.content.get(key)
        return default if value is None else value

    def first(self, *keys: str) -> str:
        """Return the first of these keys that is said, or the first of all."""
        return next((key for key in keys if key in self), keys[0])

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str, default: int, *, least: int = 1) -> int:
        """Return a whole number of at least `least`.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_COUNT:
            raise self.wrong(key, f"a whole number of at least {least}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number of at least 0.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.wrong(key, "a number of at least 0")
        return float(value)

    def text(self, key: str, default: str) -> str:
        """Return a text. YAML reads the bare words `no` and `off` as false: they are texts again here.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key, default)
        if value is False:
            return "no"
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def words(self, key: str, *, split: bool = False) -> list[str] | str | None:
        """Return a list of words or one text, None if it is not said or empty.

        Args:
            key: The key.
            split: Whether a text is a list whose words stand between commas.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key)
        if isinstance(value, str):
            words = [word.strip() for word in value.split(",") if word.strip()]
            return (words if split else value.strip()) or None
        if value is None or (isinstance(value, list) and all(isinstance(word, str) for word in value)):
            return value or None
        raise self.wrong(key, "a text or a list of texts")

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a mapping of settings, given as such or as a text of JSON; empty if it is not said.

        Raises:
            UsageError: If the value is something else.
        """
        value = self.raw(key, {})
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise self.wrong(key, "a mapping of settings") from None
        if not isinstance(value, dict):
            raise self.wrong(key, "a mapping of settings")
        return value

    def wrong(self, key: str, expected: str) -> UsageError:
        """Build the error about a value that is not what it must be."""
        return UsageError(f"{self.subject}: {key} must be {expected}, not {shown(self.content.get(key))}")
