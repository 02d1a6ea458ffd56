"""`sizeup hollow`: a checkpoint without weights."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.options import example, format_option, say
from planner.cli.output import print_object


@click.command(
    epilog=example("sizeup hollow llama-3.1-8b ./llama-hollow", "sizeup hollow ./my-model ./hollow --force")
)
@click.argument("model")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a hollow checkpoint that is in DIR.")
@format_option
def hollow(model: str, folder: Path, force: bool, format: str) -> None:
    """Write a folder that loads like the checkpoint of MODEL, but holds no weights and takes next to no disk.

    MODEL is a name of the catalogue ('sizeup models'), a hub id, or a folder with a config.json; nothing is
    downloaded for a model of the catalogue, gated ones included. DIR must not be there, or be empty. Scripts
    load it with from_pretrained(DIR): model, tokenizer and image processor. Every weight is zero, and the
    tokenizer only stands in for the model's, so it is for trying memory, not for training.
    """
    from profiler.hollow.checkpoint import write_hollow_checkpoint

    made = write_hollow_checkpoint(model, folder, force=force)
    print_object(
        {
            "model": made.model,
            "folder": str(made.folder),
            "architecture": made.architecture,
            "dtype": made.dtype,
            "parameters": made.parameters,
            "apparent_bytes": made.apparent_bytes,
            "disk_bytes": made.disk_bytes,
        },
        format=format,
    )
    load = f"from_pretrained({str(made.folder)!r})"
    say(f"Next: {load} in a script, and sizeup run --gpu rtx-4090 -- python train.py")
