"""`sizeup fit`: whether a fine-tune fits on a GPU that need not be there."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.measuring import quiet_option
from planner.cli.options import example, format_option, say
from planner.cli.spec_options import overridden, spec_from_options, spec_options
from planner.cli.stages import Stages
from profiler.errors import SizeupError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.fit import FitAnswer
    from planner.trainer_files import TrainerFile
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec

_EXIT_CODES = {"fits": 0, "does_not_fit": 3, "cannot_tell": 4}


@click.command(
    epilog=example(
        "sizeup fit llama-3.2-3b --method lora --batch-size 4 --gpu l40s",
        "sizeup fit llama-3.1-8b --method qlora --sequence-length 2048 --gpu all",
        "sizeup fit --from axolotl.yaml --gpu rtx-4090 --write smaller.yaml",
    )
)
@functools.partial(spec_options, model_required=False)
@click.option(
    "--gpu",
    "gpus",
    metavar="ID|all",
    multiple=True,
    help="GPU to ask about ('sizeup gpus' lists them); repeatable.  [default: the GPU of this machine]",
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take the trial from a file of axolotl, LLaMA-Factory, TRL or transformers; flags override it.",
)
@click.option(
    "--write",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the first suggestion that fits as a new file of the same format as --from.",
)
@click.option(
    "--suggest/--no-suggest", default=True, help="Look for ways to make it fit.  [default: suggest]"
)
@format_option
@quiet_option
@click.pass_context
def fit(
    ctx: click.Context,
    model: str | None,
    settings: dict[str, Any],
    gpus: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    suggest: bool,
    format: str,
    quiet: bool,
) -> None:
    """Say whether a fine-tune fits on a GPU, without the GPU, weights or a network.

    MODEL is a name of the catalogue ('sizeup models'), a hub id, or a folder with a config.json; or a YAML
    file with the settings of a trial, which flags override. The training step is executed on tensors without
    content, and its allocations are replayed as CUDA's allocator would have them. With one GPU it also finds
    the largest batch, the longest sequence and ways to make it fit; with several, a line for each.

    Exits with 0 when it fits, 3 when it does not (on several GPUs: on none), 4 when that cannot be told.
    """
    from planner.fit.gpu_choice import chosen_gpus

    spec, trainer_file = _trial(model, settings, source, quiet=quiet)
    chosen = chosen_gpus(gpus)
    if target is not None:
        _check_write(trainer_file, chosen, suggest=suggest)
    with Stages(quiet=quiet) as stages:
        answers = _ask(spec, chosen, suggest=suggest, on_stage=stages.show)
    _print(answers, format, source)
    if trainer_file is not None and target is not None:
        _write(answers[0], trainer_file, target)
    verdicts = {answer.verdict.value for answer in answers}
    best = next(verdict for verdict in ("fits", "cannot_tell", "does_not_fit") if verdict in verdicts)
    ctx.exit(_EXIT_CODES[best])


def _trial(
    model: str | None, settings: dict[str, Any], source: Path | None, *, quiet: bool
) -> tuple[TrialSpec, TrainerFile | None]:
    if source is None:
        if model is None:
            raise UsageError("give a MODEL, or a trainer's file with --from")
        return spec_from_options(model, settings), None
    from planner.trainer_files import read_trainer_file
    from profiler.spec import TrialSpec

    if model is not None and Path(model).suffix in (".yaml", ".yml"):
        raise UsageError(f"the trial is in {model} or in {source}: give one of the two files")
    trainer_file = read_trainer_file(source)
    given = {**settings, **({"model": model} if model is not None else {})}
    spec = TrialSpec.parse(overridden(trainer_file.settings, given), subject=str(source))
    if not quiet:
        _say_ignored(trainer_file)
    return spec, trainer_file


def _say_ignored(trainer_file: TrainerFile) -> None:
    say(f"{trainer_file.path}: read as a file of {trainer_file.format}.")
    if keys := trainer_file.ignored.without_effect:
        say(f"Without effect on memory: {', '.join(keys)}.")
    for found in trainer_file.ignored.not_understood:
        say(f"Not taken into account: {found.key}: {found.reason}.")
    for note in trainer_file.notes:
        say(note)


def _check_write(trainer_file: TrainerFile | None, chosen: list[GpuFacts], *, suggest: bool) -> None:
    if trainer_file is None:
        raise UsageError("--write changes a trainer's file: name it with --from")
    if len(chosen) > 1 or not suggest:
        raise UsageError("--write takes the first suggestion that fits: give one --gpu, and no --no-suggest")


def _ask(
    spec: TrialSpec, chosen: list[GpuFacts], *, suggest: bool, on_stage: Callable[[str], None]
) -> list[FitAnswer]:
    """Return the answers there are.

    Raises:
        SizeupError: If there is none.
    """
    import planner.fit

    if len(chosen) == 1:
        return [planner.fit.fit(spec, chosen[0], suggest=suggest, on_stage=on_stage)]
    found = planner.fit.fit_all(spec, chosen, on_stage=on_stage)
    answers = [answer for answer in found if not isinstance(answer, SizeupError)]
    errors = [
        (gpu.id, error) for gpu, error in zip(chosen, found, strict=True) if isinstance(error, SizeupError)
    ]
    if not answers:
        raise errors[0][1]
    for gpu_id, error in errors:
        say(f"Left out {gpu_id}: {error}")
    return answers


def _print(answers: list[FitAnswer], format: str, source: Path | None) -> None:
    from planner.cli.fit_report import print_answer, print_answers

    if len(answers) == 1:
        print_answer(answers[0], format=format, source=source)
    else:
        print_answers(answers, format=format)


def _write(answer: FitAnswer, trainer_file: TrainerFile, target: Path) -> None:
    """Write the first suggestion that fits and that the file's format can say."""
    from planner.trainer_files import write_trainer_file

    if answer.verdict.value == "fits":
        raise UsageError(f"nothing was written to {target}: it fits as it is")
    refusals = []
    for suggestion in (suggestion for suggestion in answer.suggestions if suggestion.fits):
        try:
            lines = write_trainer_file(trainer_file, suggestion.spec, target)
        except UsageError as error:
            refusals.append(error)
            continue
        say(f"Wrote {target}: {suggestion.change}.")
        for line in lines:
            say(f"  {line}")
        return
    if refusals:
        raise refusals[0]
    say(f"Nothing was written to {target}: no suggestion fits.")
