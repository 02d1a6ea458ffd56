"""`sizeup run`: a user's own script on a GPU that need not be there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.measuring import quiet_option
from planner.cli.options import example, format_option, say
from profiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.script_answer import ScriptAnswer
    from profiler.devices.cuda import CudaDevice

_EXIT_CODES = {"fits": 0, "does_not_fit": 3, "cannot_tell": 4}
_INTERRUPTED = 130


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=example(
        "sizeup run --gpu rtx-4090 -- python train.py --batch-size 8",
        "sizeup run --gpu h100-sxm --world-size 64 --snapshot peak.pickle -- torchrun train.py",
        "sizeup run --device cuda -- python train.py",
    ),
)
@click.option("--gpu", metavar="ID", help="A virtual GPU ('sizeup gpus' lists them).")
@click.option("--device", metavar="cuda[:N]", help="A GPU of this machine, instead.")
@click.option(
    "--world-size",
    type=click.IntRange(min=1),
    help="GPUs that the script is told of; it runs once, as rank 0.  "
    "[default: what its launcher says, else 1]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Optimizer steps to run.  [default: at least 4, until peaks no longer grow]",
)
@click.option(
    "--time-limit",
    "time_limit_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    help="When the script is stopped in any case.",
)
@click.option(
    "--snapshot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write torch's memory snapshot, for pytorch.org/memory_viz.",
)
@format_option
@quiet_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_context
def run(
    ctx: click.Context,
    gpu: str | None,
    device: str | None,
    world_size: int | None,
    steps: int | None,
    time_limit_seconds: float,
    snapshot: Path | None,
    format: str,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Run your own training script, unmodified, for a few steps, and say whether it fits on a GPU.

    With --gpu the GPU is virtual: torch's own CUDA build runs on a driver that accounts for memory and
    computes nothing. The script's files stay as they are: what it writes goes to a temporary folder, tensors
    are not saved, and nothing is uploaded. A launcher (torchrun, accelerate launch, deepspeed) is replaced:
    the script runs once, as rank 0. What it prints is passed through; with another --format than table, to
    stderr.

    Exits with 0 when it fits, 3 when it does not, 4 when that cannot be told, 1 when the script fails.
    """
    from planner.cli.run_report import print_script_answer
    from planner.script_answer import script_answer
    from profiler.script import ScriptRequest, run_script, script_command

    if command and command[0].startswith("-"):
        raise click.NoSuchOption(command[0], ctx=ctx)
    chosen = _device(gpu, device)
    if snapshot is not None:
        _check_target(snapshot)
    understood = script_command(command, environment=chosen.child_environment(None))
    ranks = world_size or understood.world_size or 1
    if ranks > 1 and device is not None:
        raise UsageError(f"{device} is one GPU: only a virtual one (--gpu) can be one of {ranks}")
    request = ScriptRequest(
        command=understood,
        device=chosen,
        world_size=ranks,
        steps=steps,
        time_limit_seconds=time_limit_seconds,
        snapshot=snapshot,
    )
    sys.stdout.flush()
    with _Progress(quiet=quiet) as progress:
        found = run_script(request, output=None if format == "table" else sys.stderr, on_event=progress.event)
    answer = script_answer(found, request, command)
    print_script_answer(answer, format=format)
    if found.snapshot is not None:
        say(f"Wrote {found.snapshot}; open it at pytorch.org/memory_viz.")
    ctx.exit(_exit_code(answer))


def _device(gpu: str | None, device: str | None) -> CudaDevice:
    from planner.script_answer import roomiest_device
    from profiler.catalog import find_gpu
    from profiler.devices import find_device
    from profiler.devices.cuda import CudaDevice

    if (gpu is None) == (device is None):
        raise UsageError("say where to run: --gpu ID for a virtual GPU, or --device cuda for a real one")
    if gpu is not None:
        return roomiest_device(find_gpu(gpu))
    found = find_device(device)
    if not isinstance(found, CudaDevice) or found.origin == "virtual":
        raise UsageError(f"--device takes cuda or cuda:N, not {device!r}; a virtual GPU is named with --gpu")
    return found


def _check_target(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} is there already; name another file with --snapshot")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.absolute().parent}")


def _exit_code(answer: ScriptAnswer) -> int:
    from profiler.script.record import Ending

    if answer.run.ending is Ending.INTERRUPTED:
        return _INTERRUPTED
    return 1 if answer.verdict is None else _EXIT_CODES[answer.verdict.value]


class _Progress:
    """Says how far the script is, on a terminal only; the script prints beside it."""

    def __init__(self, *, quiet: bool) -> None:
        self._is_shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        return

    def event(self, event: Mapping[str, Any]) -> None:
        """Show a step that has ended."""
        if self._is_shown and event["event"] == "step":
            say(
                f"[sizeup] step {event['step'] + 1} ended: "
                f"{event['resident_bytes'] / 2**30:,.2f} GiB allocated"
            )
