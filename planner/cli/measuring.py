"""Options that `measure` and `sweep` share: the device, and how it is measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from profiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

device_option = click.option(
    "--device",
    metavar="cpu|cuda[:N]|virtual:GPU",
    help="What to measure on; a virtual GPU tells memory alone.  [default: the first GPU, else the CPU]",
)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")

_protocol_option = click.option(
    "--protocol-option",
    "protocol_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of the protocol, such as timed_min_steps=50; repeatable.",
)
_limit_option = click.option(
    "--memory-limit-mib",
    type=click.IntRange(min=1),
    help="Host memory a trial on the CPU may take; beyond it, it is out of memory.",
)
_timeout_option = click.option(
    "--timeout-seconds", type=click.FloatRange(min=0, min_open=True), help="When a trial is ended."
)


def protocol_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the protocol to a command."""
    return _protocol_option(_limit_option(_timeout_option(command)))


def protocol_settings(
    options: Sequence[str], memory_limit_mib: int | None, timeout_seconds: float | None
) -> dict[str, Any]:
    """Return the settings of the protocol that were given on the command line.

    Raises:
        UsageError: If an option is not NAME=VALUE.
    """
    settings: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--protocol-option takes NAME=VALUE, not {option!r}")
        try:
            settings[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            raise UsageError(f"--protocol-option {name}: {value!r} is not a number, true or false") from None
    if memory_limit_mib is not None:
        settings["memory_limit_bytes"] = memory_limit_mib * 2**20
    if timeout_seconds is not None:
        settings["timeout_seconds"] = timeout_seconds
    return settings
