"""`sizeup predict`: memory and time of configurations that nobody has run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.measuring import quiet_option
from planner.cli.options import example, format_option, say, store_option
from planner.cli.output import print_object, print_rows
from planner.cli.spec_options import spec_options, specs_from_options
from planner.cli.stages import Stages

if TYPE_CHECKING:
    from estimators.features import Place
    from planner.learn import ConfigurationPrediction
    from planner.learn.saved import SavedModels


@click.command(
    epilog=example(
        "sizeup predict smollm2-135m --method lora --batch-size 4 --sequence-length 256",
        "sizeup predict sweep.yaml --format csv",
        "sizeup predict llama-3.2-1b --method lora --gpu l40s --gpu rtx-4090",
    )
)
@functools.partial(spec_options, several=True)
@click.option(
    "--gpu",
    "gpus",
    metavar="ID",
    multiple=True,
    help="Where it would run (repeatable).  [default: where the learned measurements were made]",
)
@click.option(
    "--models",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="What was learned.  [default: that of the store]",
)
@store_option
@format_option
@quiet_option
def predict(
    model: tuple[str, ...],
    settings: dict[str, Any],
    gpus: tuple[str, ...],
    folder: Path | None,
    location: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Predict memory and time of configurations, with intervals, from what 'sizeup learn' learned.

    Each MODEL may be a name, a hub id, a folder, a YAML file of one trial, or a sweep file. A figure comes
    with its interval, what it rests on, and whether the configuration is inside the data: ok, caution
    (outside in one respect), or refuse. Memory of what was never measured comes from the symbolic engine.
    """
    from planner.learn import predict as predict_all
    from planner.learn.saved import models_folder, read_models
    from profiler.store.location import display_name, find_store

    specs = [spec for one in model for spec in specs_from_options(one, settings)]
    models = read_models(folder or models_folder(display_name(find_store(location))))
    if models is None and not quiet:
        say("Nothing was learned from this store yet ('sizeup learn' does): memory is the symbolic engine's.")
    places = _places(gpus, models)
    with Stages(quiet=quiet) as stages:
        answers = predict_all(
            [(spec, place) for spec in specs for place in places], models, on_stage=stages.show
        )
    _print(answers, format)
    if format == "table" and not quiet:
        for line in _notes(answers):
            say(line)


def _places(gpus: tuple[str, ...], models: SavedModels | None) -> list[Place]:
    from planner.learn.places import place_beside, place_here

    if gpus:
        return [place_beside(name) for name in gpus]
    return [place_here() if models is None else models.place]


def _print(answers: list[ConfigurationPrediction], format: str) -> None:
    rows = [_row(answer, with_basis=format in ("json", "csv")) for answer in answers]
    if format in ("table", "md"):
        shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        print_rows(rows, _telling(rows, shown), format=format)
    elif format == "json" and len(rows) == 1:
        print_object(rows[0], format=format)
    else:
        print_rows(rows, list(rows[0]), format=format)


def _telling(rows: list[dict[str, Any]], shown: list[str]) -> list[str]:
    """Return the columns that a person needs: of the settings, those that tell the rows apart."""
    from profiler.spec import TrialSpec

    always = ("model", "method")
    return [
        name
        for name in shown
        if name not in TrialSpec.model_fields or name in always or len({row[name] for row in rows}) > 1
    ]


def _row(answer: ConfigurationPrediction, *, with_basis: bool) -> dict[str, Any]:
    from estimators.learned import TARGETS

    row: dict[str, Any] = {**answer.spec.to_row(), "device": answer.device}
    for name in TARGETS:
        prediction = answer.figures.get(name)
        row[name] = prediction and prediction.figure
        row[f"{name}_low"], row[f"{name}_high"] = (
            (prediction.low, prediction.high) if prediction else (None, None)
        )
        if with_basis:
            basis = prediction and prediction.basis
            row[f"{name}_level"] = prediction and prediction.level
            row[f"{name}_status"] = prediction and prediction.status.value
            row[f"{name}_model"] = basis and basis.model
            row[f"{name}_configurations"] = basis and basis.configurations
            row[f"{name}_calibrated_by"] = basis and basis.calibrated_by
            row[f"{name}_no_interval_because"] = basis and basis.no_interval_because
            row[f"{name}_nearest"] = prediction and [
                {"label": near.label, "figure": near.figure, "distance": near.distance}
                for near in prediction.nearest
            ]
    return {
        **row,
        "probability_fits": answer.probability_fits,
        "status": answer.status.value,
        "reasons": list(answer.reasons) or None,
    }


def _notes(answers: list[ConfigurationPrediction]) -> list[str]:
    """Say what figures rest on, each thing once."""
    lines: dict[str, None] = {}
    for answer in answers:
        for name, prediction in answer.figures.items():
            basis = prediction.basis
            rests = f"{basis.configurations} configurations; " if basis.configurations else ""
            interval = (
                f"{prediction.level:.0%} interval by {basis.calibrated_by}"
                if basis.calibrated_by
                else f"no interval: {basis.no_interval_because}"
            )
            lines[f"{name}: {basis.model}; {rests}{interval}."] = None
    return list(lines)
