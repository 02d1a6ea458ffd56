"""`sizeup suggest`: which trial to run next, and when to stop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.commands.learn import origin_option
from planner.cli.measuring import quiet_option
from planner.cli.options import example, format_option, say, store_option
from planner.cli.output import print_object, print_rows
from planner.cli.spec_options import specs_from_options
from planner.cli.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators.features import Place
    from estimators.learned import Configuration
    from planner.suggest import Goal, Suggestion, Suggestions

_GIB = 2**30


@click.command(
    epilog=example(
        "sizeup suggest sweep.yaml",
        "sizeup suggest sweep.yaml --goal best --memory-limit-gib 20 --budget-minutes 30",
    )
)
@click.argument("files", metavar="FILE.yaml...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--goal",
    type=click.Choice(["map", "best"]),
    default="map",
    show_default=True,
    help="Know a figure everywhere, or find the trial for which it is lowest.",
)
@click.option(
    "--figure",
    default="step_seconds_median",
    show_default=True,
    help="Which figure; for the best step time, that of a sample counts.",
)
@click.option("--memory-limit-gib", type=click.FloatRange(min=0, min_open=True), help="Peak memory at most.")
@click.option("--step-limit-seconds", type=click.FloatRange(min=0, min_open=True), help="Step time at most.")
@click.option(
    "--budget-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Suggest only what is predicted to take no longer altogether.",
)
@click.option(
    "--count", type=click.IntRange(min=1), default=5, show_default=True, help="Suggest at most so many."
)
@click.option("--gpu", metavar="ID", help="Where they would run.  [default: where was measured]")
@origin_option
@click.option("--where", metavar="EXPR", help="Only attempts for which this holds; names are columns.")
@click.option("--mix-environments", is_flag=True, help="Learn from all environments together.")
@store_option
@format_option
@quiet_option
def suggest(
    files: tuple[Path, ...],
    goal: str,
    figure: str,
    memory_limit_gib: float | None,
    step_limit_seconds: float | None,
    budget_minutes: float | None,
    count: int,
    gpu: str | None,
    origins: tuple[str, ...],
    where: str | None,
    mix_environments: bool,
    location: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Say which of many trials to run next, and why.

    FILE.yaml is a sweep or a trial. What is measured already, and what surely cannot run, is left out. With
    --goal map, the first trial removes most of what is uncertain for the time it takes; with --goal best, it
    is expected to be most better than the best so far, for its time and within the limits. When nothing is
    expected to be better by more than repeats differ, it says to stop.
    """
    from planner.suggest import suggest as suggest_from
    from planner.suggest.rows import measured_space

    specs = [spec for file in files for spec in specs_from_options(str(file), {})]
    space = measured_space(location, origins=origins, where=where, mix_environments=mix_environments)
    wanted = _goal(goal, figure, memory_limit_gib, step_limit_seconds, space.found)
    place = _place(gpu, space.found)
    with Stages(quiet=quiet) as stages:
        found = suggest_from(
            specs, place, space.found, wanted, cost=space.cost, count=count, on_stage=stages.show
        )
    chosen = _within_budget(found.ordered, budget_minutes)
    if format == "json":
        print_object(_answer(found, chosen, wanted), format=format)
        return
    print_rows(*_table(chosen, wanted, format), format=format)
    if not quiet:
        for line in _notes(found, chosen, wanted, budget_minutes):
            say(line)


def _goal(
    goal: str, figure: str, memory_gib: float | None, seconds: float | None, found: Sequence[Configuration]
) -> Goal:
    from planner.suggest import Goal, Limit, Objective
    from planner.suggest.goal import TIME, memory_figure

    limits = []
    if memory_gib is not None:
        limits.append(Limit(figure=memory_figure(found), most=memory_gib * _GIB))
    if seconds is not None:
        limits.append(Limit(figure=TIME, most=seconds))
    return Goal(objective=Objective(goal), figure=figure, limits=tuple(limits))


def _place(gpu: str | None, found: Sequence[Configuration]) -> Place:
    from estimators.features import Place
    from planner.learn.places import place_beside, place_here

    if gpu is not None:
        return place_beside(gpu)
    if found:
        return Place.of(found[0].device, found[0].environment.facts)
    return place_here()


def _within_budget(ordered: Sequence[Suggestion], minutes: float | None) -> list[Suggestion]:
    """Return those that together are predicted to fit a budget; one whose time is unknown counts nothing."""
    if minutes is None:
        return list(ordered)
    left, chosen = 60 * minutes, []
    for suggestion in ordered:
        if (cost := suggestion.cost_seconds or 0.0) <= left:
            left -= cost
            chosen.append(suggestion)
    return chosen


def _answer(found: Suggestions, chosen: Sequence[Suggestion], goal: Goal) -> dict[str, Any]:
    return {
        "goal": goal.objective.value,
        "figure": goal.figure,
        "limits": {limit.figure: limit.most for limit in goal.limits},
        "stop_because": found.stop_because,
        "best": found.best and {**found.best.spec.canonical, "value": found.best_value},
        "suggestions": [_row(suggestion, goal) for suggestion in chosen],
        "skipped": [{"spec": one.spec.canonical, "reason": one.reason} for one in found.skipped],
        "notes": list(found.notes),
    }


def _row(suggestion: Suggestion, goal: Goal) -> dict[str, Any]:
    from planner.fit.command_line import command_line

    return {
        **suggestion.spec.to_row(),
        goal.figure: suggestion.figure,
        "probability_within_limits": suggestion.probability_within_limits,
        "worth": suggestion.worth,
        "cost_seconds": suggestion.cost_seconds,
        "why": suggestion.why,
        "command": command_line(suggestion.spec),
    }


def _table(chosen: Sequence[Suggestion], goal: Goal, format: str) -> tuple[list[dict[str, Any]], list[str]]:
    from profiler.spec import TrialSpec

    rows = [_row(suggestion, goal) for suggestion in chosen]
    if format == "csv" or not rows:
        return rows, list(rows[0]) if rows else []
    return rows, [
        name
        for name in rows[0]
        if name in ("model", "method", "why")
        or (name in TrialSpec.model_fields and len({row[name] for row in rows}) > 1)
        or (name not in (*TrialSpec.model_fields, "worth") and any(row[name] is not None for row in rows))
    ]


def _value(value: float, goal: Goal) -> str:
    from planner.suggest.goal import TIME

    return f"{value:.4g} s per sample" if goal.figure == TIME else f"{value / _GIB:.2f} GiB"


def _notes(
    found: Suggestions, chosen: Sequence[Suggestion], goal: Goal, budget_minutes: float | None
) -> list[str]:
    lines = [f"Stop: {found.stop_because}."] if found.stop_because else []
    if found.best is not None and found.best_value is not None:
        lines.append(f"The best so far is {found.best.spec} with {_value(found.best_value, goal)}.")
    lines += [f"Left out {count:,}: {why}." for why, count in _reasons(found).items()]
    if budget_minutes is not None:
        costs = [suggestion.cost_seconds for suggestion in chosen]
        if None in costs:
            lines.append("The budget was not applied: nothing tells yet how long a trial takes.")
        elif len(chosen) < len(found.ordered):
            lines.append(f"{len(found.ordered) - len(chosen)} more are beyond the budget.")
    return [*lines, *(f"Note: {note}." for note in found.notes)]


def _reasons(found: Suggestions) -> Counter[str]:
    return Counter(skipped.reason for skipped in found.skipped)
