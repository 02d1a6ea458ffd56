"""`sizeup measure`: one trial, measured."""

from __future__ import annotations

from typing import Any

import click

from planner.cli.measuring import device_option, protocol_options, protocol_settings, quiet_option
from planner.cli.options import example, format_option, say, store_option
from planner.cli.spec_options import spec_from_options, spec_options

# Enough to see where a trial stands, in seconds rather than minutes; the row says that it was used.
QUICK = {"warmup_min_steps": 3, "warmup_min_seconds": 0, "timed_min_steps": 8, "timed_min_seconds": 0}


@click.command(
    epilog=example(
        "sizeup measure smollm2-135m --method lora --method-option r=16 --batch-size 4",
        "sizeup measure ./my-model --method full --precision amp-bf16 --device cuda:1 --repeats 3",
    )
)
@spec_options
@device_option
@click.option(
    "--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Fresh processes to measure."
)
@click.option("--quick", is_flag=True, help="A shorter protocol, for a first look.")
@protocol_options
@store_option
@format_option
@quiet_option
@click.pass_context
def measure(
    ctx: click.Context,
    model: str,
    settings: dict[str, Any],
    device: str | None,
    repeats: int,
    quick: bool,
    protocol_options: tuple[str, ...],
    memory_limit_mib: int | None,
    timeout_seconds: float | None,
    location: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Measure peak memory and step time of one trial, in a process of its own.

    MODEL is a name of the catalogue ('sizeup models'), a hub id, or a folder with a config.json; or a YAML
    file with the settings of the trial, which flags override. Weights are random and never downloaded. The
    row is kept in the store, whatever becomes of the trial.

    Exits with 0 when it was measured, 3 when it ran out of memory, 1 when it failed.
    """
    from planner.cli.progress import TrialProgress
    from planner.cli.trial_report import print_trials
    from profiler.devices import find_device
    from profiler.harness import Harness, MeasurementProtocol
    from profiler.measurement import Outcome
    from profiler.store import Store
    from profiler.sweep.plan import PlannedTrial, SweepPlan
    from profiler.sweep.runner import SweepRunner

    spec = spec_from_options(model, settings)
    given = protocol_settings(protocol_options, memory_limit_mib, timeout_seconds)
    protocol = MeasurementProtocol.parse({**(QUICK if quick else {}), **given})
    trials = tuple(PlannedTrial(spec=spec, repeat=repeat) for repeat in range(1, repeats + 1))
    plan = SweepPlan(specs=(spec,), trials=trials, collapsed=0, left_out=0)
    with (
        Store.open(location) as store,
        TrialProgress(len(trials), quiet=quiet) as progress,
        Harness(find_device(device), protocol, listener=progress.event) as harness,
    ):
        runner = SweepRunner(name=None, plan=plan, harness=harness, store=store, listener=progress)
        report = runner.run()
        ids = {row.id for row in report.measurements}
        rows = [row for row in store.rows(origins=None, spec_keys=[spec.key]) if row["id"] in ids]
    print_trials(rows, format=format)
    if not quiet:
        say(f"Kept in {store.location}; 'sizeup results' shows what is there.")
    outcomes = [row.outcome for row in report.measurements]
    if Outcome.OOM in outcomes:
        ctx.exit(3)
    last = {row.repeat: row.outcome for row in report.measurements}
    ctx.exit(0 if all(outcome is Outcome.OK for outcome in last.values()) else 1)
