"""`sizeup sweep`: many trials from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.measuring import device_option, protocol_options, protocol_settings, quiet_option
from planner.cli.options import example, format_option, say, store_option

if TYPE_CHECKING:
    from profiler.sweep.plan import SweepPlan
    from profiler.sweep.runner import SweepReport, SweepRunner


@click.command(
    epilog=example(
        "sizeup sweep benchmarks/sweeps/quickstart.yaml --dry-run",
        "sizeup sweep benchmarks/sweeps/quickstart.yaml --resume --output table.parquet",
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@device_option
@click.option("--resume", is_flag=True, help="Run only the trials that have no finished row yet.")
@click.option("--dry-run", is_flag=True, help="Say what would run and how long it may take, and run nothing.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Parquet, CSV or JSON file for the rows.  [default: NAME.parquet in this folder]",
)
@protocol_options
@store_option
@format_option
@quiet_option
@click.pass_context
def sweep(
    ctx: click.Context,
    file: Path,
    device: str | None,
    resume: bool,
    dry_run: bool,
    output: Path | None,
    protocol_options: tuple[str, ...],
    memory_limit_mib: int | None,
    timeout_seconds: float | None,
    location: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Measure every trial of FILE, each in a process of its own, and keep each row as it ends.

    Repeats are interleaved (A B C A B C). A sweep that was stopped, or killed, goes on with --resume. At the
    end the rows of the sweep are shown as a table and written to a Parquet file.

    Exits with 0 when all is done, 5 when a trial failed or timed out (out of memory, skipped and not-possible
    do not count).
    """
    from planner.cli.progress import TrialProgress
    from planner.cli.results_file import check_results_file, write_results_file
    from profiler.devices import find_device
    from profiler.harness import Harness, MeasurementProtocol
    from profiler.store import Store
    from profiler.sweep.file import SweepFile
    from profiler.sweep.plan import plan as plan_of
    from profiler.sweep.runner import SweepRunner

    sweep_file = SweepFile.read(file)
    plan = plan_of(sweep_file)
    given = protocol_settings(protocol_options, memory_limit_mib, timeout_seconds)
    protocol = MeasurementProtocol.parse(
        {**sweep_file.protocol, **given}, subject=f"{sweep_file.subject}: protocol"
    )
    target = output or Path(f"{sweep_file.name}.parquet")
    check_results_file(target)
    measured_on = find_device(device or sweep_file.device)
    if not quiet:
        _say_plan(plan)
    with (
        Store.open(location) as store,
        TrialProgress(len(plan.trials), quiet=quiet or dry_run) as progress,
        Harness(measured_on, protocol, listener=progress.event) as harness,
    ):
        runner = SweepRunner(
            name=sweep_file.name, plan=plan, harness=harness, store=store, listener=progress,
            retries=sweep_file.retries, stop_after_oom=sweep_file.stop_after_oom, resume=resume,
        )  # fmt: skip
        if dry_run:
            say(_estimate(runner))
            return
        try:
            report = runner.run()
        except KeyboardInterrupt:
            say(f"Stopped; every finished trial is kept. Go on with: sizeup sweep {file} --resume")
            raise
        _print_table(runner, format)
        count = write_results_file(runner, target)
    if not quiet:
        say(_summary(report))
        say(f"Wrote {target} ({count} rows); the store is {store.location}.")
    ctx.exit(5 if report.has_failures else 0)


def _say_plan(plan: SweepPlan) -> None:
    line = f"{len(plan.specs)} specs, {len(plan.trials)} trials"
    if plan.collapsed:
        line += f"; {plan.collapsed} combinations were other spellings of these"
    if plan.left_out:
        line += f"; skip leaves out {plan.left_out}"
    say(line)
    for condition in plan.skips_without_effect:
        say(f"Warning: skip {condition!r} leaves nothing out")


def _estimate(runner: SweepRunner) -> str:
    """Return a sentence: how many trials would run, how long they take, and how that is known."""
    from profiler.sweep.estimate import estimate_time

    earlier = runner.earlier()
    trials = runner.pending(earlier)
    estimate = estimate_time(trials, earlier)
    line = f"{len(trials)} trials would run on {runner.harness.device.name}"
    if not trials:
        return f"nothing would run on {runner.harness.device.name}: every trial has its finished row"
    if estimate.seconds is None:
        return f"{line}; no earlier trial of these models and this protocol tells how long they take"
    line += (
        f"; about {estimate.seconds / 60:.1f} min, from {estimate.same_spec} trials measured before and "
        f"{estimate.same_model} like others of their model"
    )
    if estimate.unknown:
        line += f"; {estimate.unknown} more of models never measured are not in it"
    return line


def _print_table(runner: SweepRunner, format: str) -> None:
    from planner.cli.output import print_rows
    from planner.cli.results_view import telling_columns
    from profiler.store.summary import summarize

    table = summarize(runner.store.table(**runner.selection))
    rows = table.rows()
    columns = telling_columns(rows, table) if format in ("table", "md") else list(table.columns)
    print_rows(rows, columns, format=format)


def _summary(report: SweepReport) -> str:
    counts = ", ".join(f"{count} {ending}" for ending, count in report.endings.items()) or "nothing to run"
    return f"{counts}; {report.already_there} were there already" if report.already_there else counts
