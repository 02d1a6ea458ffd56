"""`sizeup cache`: look into and empty the cache of traces, answers and compiled virtual GPUs."""

from __future__ import annotations

import click

from estimators.cache import cache_use, clear_cache
from planner.cli.options import example, format_option, say
from planner.cli.output import print_object

_MIB = 2**20


@click.group(epilog=example("sizeup cache show"))
def cache() -> None:
    """Look into and empty the cache of traces, answers and compiled virtual GPUs.

    Nothing in it goes out of date, and everything may be deleted: it is made again when it is asked for.
    """


@cache.command(epilog=example("sizeup cache show --format json"))
@format_option
def show(format: str) -> None:
    """Say where the cache is and how much it holds."""
    use = cache_use()
    held = {"folder": str(use.folder), "files": use.files, "size_bytes": use.bytes}
    print_object(held, format=format)


@cache.command(epilog=example("sizeup cache clear"))
def clear() -> None:
    """Delete every trace, answer and compiled virtual GPU that is kept."""
    held = clear_cache()
    files = "1 file" if held.files == 1 else f"{held.files:,} files"
    say(f"Deleted {files} ({held.bytes / _MIB:,.1f} MiB) from {held.folder}.")
