"""What was assumed where a program asked for a value that a virtual GPU does not have."""

from __future__ import annotations

READ = (
    "floating-point numbers that the program read from the virtual GPU were 0: losses, norms, metrics, and "
    "what GradScaler found, so that it skips no step"
)
TESTED = (
    "floating-point data that was compared or tested on the virtual GPU was taken as 0: finite, no NaN, and "
    "equal to other such data"
)
CONVERTED = "floating-point data that was converted to integers on the virtual GPU was taken as 0"
CHOSEN = (
    "choices by floating-point data (topk, sort, argmax, sampling) took the candidates in turn, so that "
    "every expert of a mixture gets as many tokens"
)
LARGE = "integers of a tensor that is too large to be computed on the virtual GPU were taken as 0"

_assumed: dict[str, None] = {}


def assume(note: str) -> None:
    """Note an assumption; the same one is noted once."""
    _assumed.setdefault(note)


def not_computed(operator: str, error: BaseException) -> None:
    """Note that an operator's integers are zeros, because the CPU could not compute them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if not any(known.startswith(f"integers of {operator} ") for known in tuple(_assumed)):
        assume(f"integers of {operator} on the virtual GPU were taken as 0: {lines[0].strip()}")


def assumptions() -> tuple[str, ...]:
    """Return what was assumed so far, in the order in which it was."""
    return tuple(_assumed)


def forget() -> None:
    """Start anew."""
    _assumed.clear()
