"""Options and words that several commands share."""

from __future__ import annotations

import click

from planner.cli.output import FORMATS

store_option = click.option(
    "--store",
    "location",
    metavar="PATH|URL",
    help="Store of results: a file or an SQLAlchemy URL.  [default: $SIZEUP_STORE, else one in the user's "
    "data folder]",
)

format_option = click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print: csv and json have raw bytes and seconds.",
)


def example(*lines: str) -> str:
    """Return the `epilog` of a command that shows how it is used, one command a line."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", head, *(f"  {line}" for line in lines)])


def say(message: str) -> None:
    """Tell the user something; stdout is for what was asked for."""
    click.echo(message, err=True)
