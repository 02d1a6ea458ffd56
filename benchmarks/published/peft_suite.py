"""huggingface/peft, method_comparison/MetaMathQA: runs of 5,000 steps on one GPU.

The loop (run.py of the suite): `zero_grad`, forward, backward, clipping, optimizer; `outputs` lives until the
next forward has replaced it; batches are sorted, longest first, within buckets of 20 batches; the cache is
emptied after every tenth step, so that the longest batch of a bucket meets an empty cache and the outputs of
the shortest batch of the bucket before. The recorded figure is the maximum over all steps of
`memory_reserved()` at the end of a step, less what was reserved before the model was loaded. Evaluation ends
with an emptied cache, and does not count.

Neither batch is published. The longest is a parameter here: see `infer_length`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.published.rows import PublishedRow, bytes_of, versions
from profiler.catalog import find_gpu
from profiler.errors import UsageError
from profiler.importers.peft_suite import TrainingConfig
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILE = "peft_metamathqa.csv"
REFERENCE = "lora/llama-3.2-3B-rank64"
"""The run that the length is inferred from; it is not scored."""

_RESERVED_BEFORE_BYTES = 2 * 2**20  # init_accelerator: the segment of a Linear(1, 1)
SHORTEST_OF_MEAN = 0.5
"""Length of a bucket's shortest batch, of 4 samples out of 80, as a part of the mean length: a convention.

The 5 % quantile of log-normal lengths with the published mean and the inferred longest is 0.2 of the mean if
the longest is where the suite's filter cuts off 6 % of the samples, and 0.6 if it is the tail's own end.
"""


def published_row(
    cells: Mapping[str, str], longest: int, *, shortest_of_mean: float = SHORTEST_OF_MEAN
) -> PublishedRow:
    """Return a row of the file.

    Args:
        cells: The row.
        longest: Padded length of the longest batch, in tokens.
        shortest_of_mean: Length of the batch before it, as a part of the mean length.

    Raises:
        UsageError: If the row says something that a trial cannot express.
    """
    training = TrainingConfig.parse(json.loads(cells["train_config_json"]))
    adapter = json.loads(cells["peft_config_json"]) if cells["peft_config_json"] else None
    mean = mean_length(cells)
    return PublishedRow(
        name=cells["experiment"],
        gpu=find_gpu(cells["gpu"]),
        spec=TrialSpec.parse(
            {
                **training.settings(adapter),
                "lengths": [round(shortest_of_mean * mean), longest],
                "empty_cache_every": 1,
            }
        ),
        steps=2,
        first_step=1,
        reserved_bytes=bytes_of(cells["mem_reserved_max_whole_run_bytes"]),
        allocated_bytes=None,
        completed=cells["status"] == "success",
        libraries=versions(cells, "_version"),
        reserved_before_bytes=_RESERVED_BEFORE_BYTES,
    )


def mean_length(cells: Mapping[str, str]) -> float:
    """Return the mean length of a sample of a run, in tokens without padding."""
    batch_size = json.loads(cells["train_config_json"])["batch_size"]
    return float(cells["tokens_per_step_unpadded_mean"]) / float(batch_size)


def infer_length(predicted: Callable[[int], int], measured: int, *, low: int, high: int) -> int:
    """Return the length whose prediction is nearest to a measurement, by bisection.

    Args:
        predicted: Bytes at a length; must not fall with it.
        measured: Bytes.
        low: Shortest length considered.
        high: Longest length considered.

    Raises:
        UsageError: If the measurement is beyond the predictions of all lengths.
    """
    if not predicted(low) <= measured <= predicted(high):
        raise UsageError(f"no length from {low} to {high} is predicted to reserve {measured} bytes")
    while high - low > 1:
        middle = (low + high) // 2
        if predicted(middle) < measured:
            low = middle
        else:
            high = middle
    return min((low, high), key=lambda length: abs(predicted(length) - measured))
