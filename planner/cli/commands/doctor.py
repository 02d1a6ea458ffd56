"""`sizeup doctor`: what this machine can measure, and with what."""

from __future__ import annotations

from dataclasses import asdict

import click

from planner.cli.options import example, format_option, store_option
from planner.cli.output import print_rows
from planner.doctor import examine


@click.command(epilog=example("sizeup doctor", "sizeup doctor --format json"))
@store_option
@format_option
def doctor(location: str | None, format: str) -> None:
    """Say what this machine can measure, and with what: GPUs, libraries, memory, store, compiler.

    "none" is something that is not there, "warn" something that is in the way of good measurements.
    """
    findings = [asdict(finding) for finding in examine(location)]
    print_rows(findings, ("status", "subject", "message"), format=format)
