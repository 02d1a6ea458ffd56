"""`sizeup import`: results of others into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.options import example, say, store_option
from profiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from profiler.importers import Reading

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only say what would be imported, and what not and why."
)


def _name_option(default: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--name",
        default=default,
        show_default=default or "the file's name",
        help="What the rows' origin is called: imported:NAME.",
    )


_set_option = click.option(
    "--set",
    "statements",
    metavar="FIELD=VALUE",
    multiple=True,
    help="What holds for every row and the source does not say, such as device=cuda (repeatable).",
)


@click.group("import", epilog=example("sizeup import peft peft/method_comparison/MetaMathQA/results"))
def import_results() -> None:
    """Take results of others into the store, under an origin of their own.

    Rows keep the environment that their source states, and never mix with what was measured here unless
    --origin asks for them. Importing the same twice adds nothing.
    """


@import_results.command("peft", epilog=example("sizeup import peft peft --dry-run"))
@click.argument("path", type=click.Path(path_type=Path))
@_name_option("peft")
@dry_run_option
@store_option
def peft(path: Path, name: str, dry_run: bool, location: str | None) -> None:
    """Take results of the PEFT method comparison.

    PATH is a clone of huggingface/peft, its folder method_comparison/MetaMathQA/results, or one file of it.
    """
    from profiler.importers import read_peft

    _take([read_peft(path, name=name)], location, dry_run=dry_run)


@import_results.command(
    "trainer",
    epilog=example("sizeup import trainer outputs/run-1 --set sequence_length=512 --set method=full"),
)
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@_name_option("trainer-state")
@_set_option
@dry_run_option
@store_option
def trainer(
    paths: tuple[Path, ...], name: str, statements: tuple[str, ...], dry_run: bool, location: str | None
) -> None:
    """Take runs of Hugging Face's Trainer.

    PATH is a run's output folder, its trainer_state.json, or a folder of runs. The arguments, the adapter's
    configuration and the model card are read where they are there; nothing in them is executed.
    """
    from profiler.importers import read_trainer_run
    from profiler.importers.mapping import read_statements

    stated = read_statements(statements)
    _take([read_trainer_run(path, stated, name=name) for path in paths], location, dry_run=dry_run)


@import_results.command(
    "csv",
    epilog=example(
        "sizeup import csv table.csv --map model_id=model --map 'peak (GiB)=peak_reserved_bytes:GiB'",
        "sizeup import csv table.csv --mapping columns.yaml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--map",
    "pairs",
    metavar="COLUMN=FIELD[:UNIT]",
    multiple=True,
    help="Which field a column is: one of a trial, method_options.NAME, a figure or a fact of the "
    "environment; UNIT is what its numbers are in, such as GiB or ms (repeatable).",
)
@click.option(
    "--mapping",
    "mapping_file",
    metavar="FILE.yaml",
    type=click.Path(path_type=Path),
    help="YAML file with columns and set, for what cells mean other than they say.",
)
@_set_option
@click.option("--delimiter", default=",", show_default=True, help="What separates cells.")
@_name_option(None)
@dry_run_option
@store_option
def csv_table(
    file: Path,
    pairs: tuple[str, ...],
    mapping_file: Path | None,
    statements: tuple[str, ...],
    delimiter: str,
    name: str | None,
    dry_run: bool,
    location: str | None,
) -> None:
    """Take the lines of a CSV file, by a mapping of its columns."""
    from profiler.importers import ColumnMapping, read_csv

    mapping = ColumnMapping.of(pairs, statements, file=mapping_file)
    if not mapping.columns:
        raise UsageError("no column is mapped; use --map COLUMN=FIELD or --mapping FILE.yaml")
    _take([read_csv(file, mapping, name=name or file.stem, delimiter=delimiter)], location, dry_run=dry_run)


def _take(readings: Sequence[Reading], location: str | None, *, dry_run: bool) -> None:
    for row in (row for reading in readings for row in reading.refused):
        say(f"Not imported: {row.row}: {row.reason}")
    for note in dict.fromkeys(note for reading in readings for note in reading.notes):
        say(f"Note: {note}")
    usable = sum(len(reading.measurements) for reading in readings)
    if not usable:
        raise UsageError("nothing was imported: no row of it is a measurement")
    if dry_run:
        say(f"{usable:,} rows would be imported as {readings[0].origin}.")
        return
    _add(readings, location)


def _add(readings: Sequence[Reading], location: str | None) -> None:
    from profiler.importers import add_to_store
    from profiler.store import Store

    with Store.open(location) as store:
        reports = [add_to_store(reading, store) for reading in readings]
        where = store.location
    added, there = sum(one.added for one in reports), sum(one.already_there for one in reports)
    origin = readings[0].origin
    say(f"Added {added:,} rows to {where} as {origin}; {there:,} were there already.")
    if changed := sum(one.changed for one in reports):
        say(
            f"{changed:,} of those were imported otherwise before and were left as they are; to renew them: "
            f"sizeup store prune --origin {origin}"
        )
