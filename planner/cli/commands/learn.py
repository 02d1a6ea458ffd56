"""`sizeup learn`: predictors of memory and time from the store, and what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.measuring import quiet_option
from planner.cli.options import example, format_option, say, store_option
from planner.cli.output import print_rows
from planner.cli.stages import Stages

if TYPE_CHECKING:
    from planner.learn import Learned

_COLUMNS = (
    "figure", "left_out", "predictor", "configurations", "error_percent_median", "error_percent_p90",
    "coverage_percent", "coverage_p_value", "width_percent_mean", "interval_score",
)  # fmt: skip

origin_option = click.option(
    "--origin",
    "origins",
    multiple=True,
    default=("measured",),
    show_default=True,
    help="Learn from rows of this origin (repeatable); origins never mix unasked.",
)


@click.command(
    epilog=example(
        "sizeup learn",
        "sizeup learn --target time --where 'model == \"HuggingFaceTB/SmolLM2-135M\"'",
        "sizeup learn --origin imported:peft --mix-environments",
    )
)
@click.option(
    "--target",
    type=click.Choice(["memory", "time", "all"]),
    default="all",
    show_default=True,
    help="What to learn.",
)
@origin_option
@click.option("--where", metavar="EXPR", help="Only from attempts for which this holds; names are columns.")
@click.option(
    "--mix-environments",
    is_flag=True,
    help="Learn from all environments together; by default that of this machine, if there are several.",
)
@click.option(
    "--models",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to keep what was learned.  [default: a folder for the store in the user's data folder]",
)
@store_option
@format_option
@quiet_option
def learn(
    target: str,
    origins: tuple[str, ...],
    where: str | None,
    mix_environments: bool,
    folder: Path | None,
    location: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Learn predictors of memory and time from what was measured, and say what they are worth.

    They begin with physics (the symbolic engine's memory; operators, FLOPs and bytes of the traced step) and
    learn what reality adds. The table shows their errors on configurations, methods, models, devices and
    later rows that were left out, next to plain baselines, and how often a 90 % interval held.
    """
    from estimators.learned import TARGETS
    from planner.learn import learn as learn_from
    from planner.learn.rows import learning_rows
    from planner.learn.saved import models_folder, save_models
    from profiler.store import Store

    names = [name for name, figure in TARGETS.items() if target in ("all", figure.group)]
    with Store.open(location, must_exist=True) as store, Stages(quiet=quiet) as stages:
        found = learning_rows(store, origins=origins, where=where, mix_environments=mix_environments)
        learned = learn_from(found, targets=names, on_stage=stages.show)
        folder = folder or models_folder(store.location)
    save_models(learned, folder)
    print_rows(_rows(learned), _COLUMNS, format=format)
    if not quiet:
        for line in _notes(learned):
            say(line)
        say(f"Kept in {folder}; 'sizeup predict' uses it.")


def _rows(learned: Learned) -> list[dict[str, Any]]:
    return [
        {
            "figure": figure.validation.target,
            "left_out": score.split.value,
            "predictor": score.predictor,
            "configurations": score.rows,
            "error_percent_median": 100 * score.error_median,
            "error_percent_p90": 100 * score.error_p90,
            "coverage_percent": None if score.coverage is None else 100 * score.coverage,
            "coverage_p_value": score.coverage_p_value,
            "width_percent_mean": None if score.width_mean is None else 100 * score.width_mean,
            "interval_score": score.interval_score,
        }
        for figure in learned.figures
        for score in figure.validation.scores
    ]


def _notes(learned: Learned) -> list[str]:
    used = sum(1 for one in learned.configurations if one.figures)
    lines = [f"{learned.measurements:,} measurements of {learned.configurations_found:,} configurations."]
    if len(learned.configurations) < learned.configurations_found:
        lines.append(f"Learned from a sample of {used:,} of them, even over models and methods.")
    for figure in learned.figures:
        validation, predictor = figure.validation, figure.predictor
        lines.append(f"{validation.target}: {predictor.model_name()}.")
        if figure.validated_on < predictor.configurations:
            lines.append(f"  Validated on a sample of {figure.validated_on:,} configurations.")
        for split, reason in validation.absent.items():
            lines.append(f"  No {split.value} was left out: {reason}.")
        if validation.alarms_of:
            lines.append(
                f"  {validation.alarms} of {validation.alarms_of} left-out configurations inside the data "
                "were called outside."
            )
    lines += [f"{name} was not learned: {reason}." for name, reason in learned.not_learned.items()]
    lines += [f"Left out {count:,}: {reason}." for reason, count in learned.without_features.items()]
    if learned.oom_configurations:
        lines.append(
            f"{learned.oom_configurations:,} configurations ran out of memory: they and larger batches of "
            f"them are not called fitting; {learned.oom_bounds_kept:,} of {learned.oom_bounds:,} whose need "
            "is known are predicted to need that much."
        )
    return lines
