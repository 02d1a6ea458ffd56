"""The error tree: every error a user can cause is one sentence and knows its exit code."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class SizeupError(Exception):
    """Base of all errors that are reported as one sentence, without a traceback.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class UsageError(SizeupError):
    """The request itself is wrong: an unknown name, a bad value, a file with a typo."""

    exit_code: ClassVar[int] = 2


class StoreError(SizeupError):
    """The store cannot be opened, read or written."""


class NotPossibleError(SizeupError):
    """The trial is well formed, but this step cannot be built or run with what is installed.

    It is permanent: trying again changes nothing.
    """


class UnreachableError(SizeupError):
    """Something on the network did not answer; it may another time."""


def first_line(error: BaseException) -> str:
    """Return the first line of what a library's error says, or its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names that look most like `name`, best first.

    Names that contain `name` come after close spellings, so that `qwen` finds `qwen2-7b`.
    """
    if not name.strip():
        return []
    by_folded = {candidate.casefold(): candidate for candidate in known}
    folded = name.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=count, cutoff=0.6)
    close += [other for other in sorted(by_folded, key=len) if folded in other and other not in close]
    return [by_folded[found] for found in close[:count]]


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UsageError:
    """Build the error for a name nobody knows: says what is near, or what is allowed.

    Args:
        kind: What the name should have been, such as `"method"`.
        name: What was given.
        known: Every allowed name.
        hint: A sentence to end with, such as the command that lists the names.
    """
    known = list(known)
    message = f"unknown {kind} {name!r}"
    if found := nearest(name, known):
        message += f"; did you mean {' or '.join(found)}?"
    elif len(known) <= 60 and not hint:
        message += f"; known: {', '.join(sorted(known))}"
    return UsageError(f"{message} {hint}".rstrip())
