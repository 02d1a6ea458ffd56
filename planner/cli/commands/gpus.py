"""`sizeup gpus`: the catalogue of GPUs."""

from __future__ import annotations

from dataclasses import asdict, fields

import click

from planner.cli.options import example, format_option, say
from planner.cli.output import print_rows
from profiler.catalog import GpuFacts
from profiler.catalog import gpus as catalogue
from profiler.errors import nearest

ALL_COLUMNS = tuple(field.name for field in fields(GpuFacts))
SHOWN_COLUMNS = (
    "id", "name", "compute_capability", "nominal_gib", "bandwidth_gb_s", "bf16_tflops_dense", "fp32_tflops",
    "tdp_w", "checked",
)  # fmt: skip


@click.command(epilog=example("sizeup gpus h100", "sizeup gpus --vendor AMD --format csv"))
@click.argument("text", required=False, default="")
@click.option(
    "--vendor",
    type=click.Choice(sorted({gpu.vendor for gpu in catalogue().values()}), case_sensitive=False),
    help="Only GPUs of this maker.",
)
@format_option
def gpus(text: str, vendor: str | None, format: str) -> None:
    """List the GPUs whose id, name or alias contains TEXT; all of them without it.

    Peak rates are dense. "checked" is 2 where two sources agree on the 16-bit peak and two on the bandwidth.
    JSON and CSV have every column, the sources included.
    """
    wanted = text.casefold()
    rows = [
        asdict(gpu)
        for gpu in catalogue().values()
        if vendor in (None, gpu.vendor)
        and any(wanted in name.casefold() for name in (gpu.id, gpu.name, *gpu.aliases))
    ]
    print_rows(rows, ALL_COLUMNS if format in ("json", "csv") else SHOWN_COLUMNS, format=format)
    if not rows:
        close = nearest(text, [name for gpu in catalogue().values() for name in (gpu.id, *gpu.aliases)])
        near = f" Near: {', '.join(close)}." if close else ""
        say(f"No GPU matches.{near}")
