"""The published table of PEFT's method comparison back as the result files that it was made of.

The suite publishes one JSON file per run, which `sizeup import peft` reads. The table has their content in
two CSV files; made into documents again, its rows come in by the same mapping.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.published.peft_suite import FILE
from benchmarks.published.rows import read_table
from profiler.importers.peft_suite import measurement_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from profiler.measurement import Measurement

CURVES_FILE = "peft_metamathqa_curves.csv"

_METRICS = {
    "step": "step",
    "train samples": "train_samples_cum",
    "train time": "train_seconds_window",
    "tokens / sec": "tokens_per_sec",
    "mem allocated avg": "mem_allocated_end_of_step_avg_bytes",
    "train total tokens": "train_total_tokens",
    "test accuracy": "test_accuracy",
    "valid accuracy": "valid_accuracy",
    "train loss": "train_loss_window_mean",
}
_WHOLE = {"step", "train samples", "train total tokens"}


def imported_rows(folder: Path) -> list[Measurement]:
    """Return the published runs as `sizeup import peft` has them, in the order of the table.

    Args:
        folder: Of the two CSV files.

    Raises:
        UsageError: If a file cannot be read, or a row is no measurement.
    """
    curves: dict[str, list[dict[str, str]]] = defaultdict(list)
    for point in read_table(folder / CURVES_FILE):
        curves[point["run_id"]].append(point)
    return [measurement_of(document(cells, curves[cells["run_id"]])) for cells in read_table(folder / FILE)]


def document(cells: Mapping[str, str], points: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the result file that a row of the table, with its points of the curves, was made of."""
    memory = cells["mem_reserved_max_whole_run_bytes"]
    return {
        "run_info": {
            "created_at": cells["created_at"],
            "total_time": float(cells["total_time_s"]),
            "experiment_name": cells["experiment"],
            "train_config": json.loads(cells["train_config_json"]),
            "peft_config": json.loads(cells["peft_config_json"] or "null"),
        },
        "train_info": {
            "status": cells["status"],
            "accelerator_memory_max": round(float(memory)) if memory else None,
            "num_trainable_params": round(float(cells["num_trainable_params"])),
            "num_total_params": round(float(cells["num_total_params"])),
            "metrics": [_metrics(point) for point in points],
        },
        "meta_info": {
            "package_info": {
                f"{name}-version": cells[f"{name}_version"]
                for name in ("torch", "transformers", "peft", "bitsandbytes")
            },
            "system_info": {"system": "Linux", "machine": "x86_64", "accelerator": cells["gpu"]},
        },
    }


def _metrics(point: Mapping[str, str]) -> dict[str, float | int]:
    return {
        name: round(float(text)) if name in _WHOLE else float(text)
        for name, column in _METRICS.items()
        if (text := point[column])
    }
