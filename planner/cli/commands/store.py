"""`sizeup store`: look into, merge and clean up the store of results."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from planner.cli.options import example, format_option, say, store_option
from planner.cli.output import print_object
from profiler.errors import UsageError
from profiler.measurement import Outcome, Reason
from profiler.store import Store


@click.group(epilog=example("sizeup store info"))
def store() -> None:
    """Look into, merge and clean up the store of results."""


@store.command(epilog=example("sizeup store info --format json"))
@store_option
@format_option
def info(location: str | None, format: str) -> None:
    """Say where the store is and what it holds."""
    with Store.open(location, must_exist=True) as opened:
        facts = asdict(opened.info())
    for name in ("first_measured_at", "last_measured_at"):
        facts[name] = facts[name] and facts[name].isoformat()
    if format in ("table", "md"):
        for name in ("by_outcome", "by_origin", "by_device"):
            facts[name] = [f"{key} {count:,}" for key, count in facts[name].items()]
    print_object(facts, format=format)


@store.command(epilog=example("sizeup store merge colleague.db"))
@click.argument("other", metavar="OTHER")
@store_option
def merge(other: str, location: str | None) -> None:
    """Add everything of the store OTHER (a file or URL) to this one; doing it twice changes nothing."""
    with Store.open(other, must_exist=True) as source, Store.open(location) as target:
        report = target.merge(source)
        say(f"Added {report.added:,} to {target.location}; {report.already_there:,} were there already.")


@store.command(
    epilog=example(
        "sizeup store prune --outcome failed --before 2026-01-01 --dry-run",
        "sizeup store prune --superseded --yes",
    )
)
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice([outcome.value for outcome in Outcome]),
    help="Those that ended so.",
)
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
    help="Those with this reason.",
)
@click.option("--origin", "origins", multiple=True, help="Those of this origin, such as imported:NAME.")
@click.option("--sweep", help="Those of this sweep.")
@click.option("--before", metavar="TIME", help="Those measured before: 2026-01-31, or with a time; in UTC.")
@click.option(
    "--superseded", is_flag=True, help="Failures that may pass, where another attempt ended for good."
)
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
def prune(
    outcomes: tuple[str, ...],
    reasons: tuple[str, ...],
    origins: tuple[str, ...],
    sweep: str | None,
    before: str | None,
    superseded: bool,
    dry_run: bool,
    yes: bool,
    location: str | None,
) -> None:
    """Delete the measurements that meet all the given criteria; it asks first."""
    criteria = {
        "outcomes": [Outcome(outcome) for outcome in outcomes] or None,
        "reasons": [Reason(reason) for reason in reasons] or None,
        "origins": origins or None,
        "sweep": sweep,
        "before": _moment(before) if before is not None else None,
        "superseded": superseded,
    }
    with Store.open(location, must_exist=True) as opened:
        count = opened.prune(**criteria, dry_run=True)  # type: ignore[arg-type]
        if dry_run or not count:
            say(f"{count:,} measurements of {opened.location} meet the criteria.")
            return
        question = f"Delete {count:,} measurements of {opened.location}?"
        if not yes and not click.confirm(question, err=True):
            say("Nothing was deleted.")
            click.get_current_context().exit(1)
        deleted = opened.prune(**criteria)  # type: ignore[arg-type]
        say(f"Deleted {deleted:,} measurements of {opened.location}.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # a zone can lead out of the calendar
        raise UsageError(f"--before must be a day or a time, such as 2026-01-31, not {text!r}") from None
