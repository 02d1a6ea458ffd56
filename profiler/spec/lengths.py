"""Sequence lengths of a trial that does not train on one fixed length."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_COUNT = 2**31 - 1
"""No length, batch or count is larger: what 32-bit sizes and every database hold."""


def parse_lengths(value: Any) -> tuple[int, ...] | Mapping[str, int] | None:
    """Check the `lengths` of a spec.

    Args:
        value: A list (the padded length of each step, in order, cycled), or a mapping from length to the
            number of samples that have it (a histogram to draw from).

    Raises:
        ValueError: If it is neither, is empty, or holds a length or count below 1 or beyond 32 bits.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        counts = Counter[int]()
        for length, count in value.items():
            counts[_positive(length, "length")] += _positive(count, f"count of length {length}")
        if not counts:
            raise ValueError("lengths must name at least one length")
        return {str(length): counts[length] for length in sorted(counts)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise ValueError("lengths must name at least one length")
        return tuple(_positive(length, "length") for length in value)
    raise ValueError(
        "lengths must be a list of lengths, such as [512, 128], or a histogram, such as {128: 10, 512: 2}"
    )


def _positive(value: Any, name: str) -> int:
    number = value
    if isinstance(value, str) and value.isdecimal() and len(value) <= 10:
        number = int(value)  # JSON turns the keys of a histogram into strings
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= LARGEST_COUNT:
        raise ValueError(f"a {name} must be a whole number from 1 to {LARGEST_COUNT}, not {shown(value)}")
    return number


def read_lengths(path: Path) -> dict[int, int]:
    """Read a histogram of lengths from a JSON-lines file.

    Each line is one sample: a number (its length in tokens), or an object with `length`, `num_tokens` or
    `input_ids`.

    Raises:
        UsageError: If the file cannot be read, is empty, or a line holds none of these.
    """
    counts = Counter[int]()
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    counts[_length_of_sample(line, f"{path}, line {number}")] += 1
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8") from error
    if not counts:
        raise UsageError(f"{path} holds no samples")
    return dict(sorted(counts.items()))


def _length_of_sample(line: str, where: str) -> int:
    try:
        sample = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON") from error
    if isinstance(sample, dict):
        if isinstance(tokens := sample.get("input_ids"), list):
            sample = len(tokens)
        else:
            sample = sample.get("length", sample.get("num_tokens"))
    try:
        return _positive(sample, "length")
    except ValueError:
        raise UsageError(
            f"{where}: expected a length, or an object with length, num_tokens or input_ids"
        ) from None
