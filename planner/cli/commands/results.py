"""`sizeup results`: what the store holds, filtered and summarised."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from planner.cli.options import example, format_option, say, store_option
from planner.cli.output import print_rows
from planner.cli.results_view import telling_columns
from profiler.catalog import find_model
from profiler.errors import UsageError, unknown
from profiler.expression import Expression
from profiler.store import Store, Table, export
from profiler.store.summary import summarize


@click.command(
    epilog=example(
        "sizeup results --where 'method == \"lora\" and batch_size > 1' --sort -peak_reserved_bytes",
        "sizeup results --sweep quickstart --output quickstart.parquet",
    )
)
@click.option(
    "--where", "condition", metavar="EXPR", help="Only attempts for which this holds; the names are columns."
)
@click.option("--model", help="Only this model: a name or alias.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    default=("measured",),
    show_default=True,
    help="Only this origin (repeatable), or all.",
)
@click.option("--sweep", help="Only this sweep.")
@click.option("--each", is_flag=True, help="One line per attempt instead of one per trial.")
@click.option(
    "--sort", metavar="COLUMN", help="Sort by this column; -COLUMN is largest first. Absent values are last."
)
@click.option("--columns", metavar="A,B,...", help="Only these columns, in this order.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many lines.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write a .csv, .json or .parquet file instead."
)
@click.option("--overwrite", is_flag=True, help="Let --output replace a file.")
@store_option
@format_option
def results(
    condition: str | None,
    model: str | None,
    origins: tuple[str, ...],
    sweep: str | None,
    each: bool,
    sort: str | None,
    columns: str | None,
    limit: int | None,
    output: Path | None,
    overwrite: bool,
    location: str | None,
    format: str,
) -> None:
    """Show what was measured.

    One line stands for all repeats of a trial on one device, in one environment, of one origin: how many
    processes ran and how they ended, the medians over those that ended well, and between which step times one
    more process would fall with 95 % (from three processes on).
    """
    with Store.open(location, must_exist=True) as store:
        table = store.table(origins=None if "all" in origins else origins, sweep=sweep)
        where = store.location
    if model is not None:
        model = _model(model, table)
        table = table.where(lambda row: row["model"] == model)
    if condition is not None:
        table = table.where(Expression.parse(condition, names=table.columns).matches)
    if not each:
        table = summarize(table)
    rows = table.rows()
    if sort is not None:
        rows = _sorted(rows, sort, table)
    rows = rows[:limit]
    chosen = _chosen(columns, table) if columns is not None else list(table.columns)
    if output is not None:
        kinds = {name: table.columns[name] for name in chosen}
        cells = tuple(tuple(row[name] for name in chosen) for row in rows)
        export(Table(columns=kinds, cells=cells), output, overwrite=overwrite)
        say(f"Wrote {output} ({len(rows):,} rows).")
        return
    if columns is None and format in ("table", "md"):
        chosen = telling_columns(rows, table, each=each)
    print_rows(rows, chosen, format=format)
    if not rows:
        say(f"No measurement in {where} meets this.")


def _model(name: str, table: Table) -> str:
    """Return the name under which the store has a model: resolved by the catalogue, or as it was stored."""
    stored = {row["model"] for row in table.rows()}
    if name in stored:
        return name
    if (folder := str(Path(os.path.expanduser(name)).resolve())) in stored:
        return folder
    return find_model(name).id


def _chosen(text: str, table: Table) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in table.columns:
            raise unknown("column", name, table.columns)
    if not names:
        raise UsageError("--columns needs at least one column")
    return names


def _sorted(rows: list[dict[str, Any]], sort: str, table: Table) -> list[dict[str, Any]]:
    is_descending, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in table.columns:
        raise unknown("column", name, table.columns)
    known = [row for row in rows if row[name] is not None]
    # A column of settings such as use_cache may hold texts and booleans, which have no order between them.
    known.sort(
        key=lambda row: (
            (isinstance(row[name], str), str(type(row[name])), row[name])
            if table.columns[name] is str
            else row[name]
        ),
        reverse=is_descending,
    )
    return known + [row for row in rows if row[name] is None]
