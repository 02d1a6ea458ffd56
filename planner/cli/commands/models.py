"""`sizeup models`: the catalogue of models."""

from __future__ import annotations

import click

from planner.cli.options import example, format_option, say
from planner.cli.output import print_rows
from profiler.catalog import models as catalogue
from profiler.errors import nearest

COLUMNS = ("id", "task", "parameters", "licence", "aliases")


@click.command(epilog=example("sizeup models llama", "sizeup models --task masked-lm --format json"))
@click.argument("text", required=False, default="")
@click.option(
    "--task",
    type=click.Choice(sorted({model.task for model in catalogue().values()})),
    help="Only models made for this task.",
)
@format_option
def models(text: str, task: str | None, format: str) -> None:
    """List the models whose id or alias contains TEXT; all of them without it.

    These can be named offline and measured without weights. A folder with a config.json, or another model of
    the Hugging Face hub, can be measured as well.
    """
    wanted = text.casefold()
    rows = [
        {name: getattr(model, name) for name in COLUMNS}
        for model in catalogue().values()
        if task in (None, model.task)
        and any(wanted in name.casefold() for name in (model.id, *model.aliases))
    ]
    print_rows(rows, COLUMNS, format=format)
    if not rows:
        close = nearest(text, [name for model in catalogue().values() for name in (model.id, *model.aliases)])
        near = f" Near: {', '.join(close)}." if close else ""
        say(f"No model matches.{near}")
