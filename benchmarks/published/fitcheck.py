"""fitcheck-llm: one warm-up step and one measured step on a T4 (scripts/measure.py of Anassbzdd/fitcheck).

The loop: a step is a function, with `zero_grad`, forward without mask or autocast, backward and optimizer,
without clipping; `out` lives until it returns. The peak counters are reset after the first step, so that
loading does not count, except for what it left in the cache. `sdpa` is pinned to the memory-efficient
kernel, with keys and values expanded before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.published.rows import PublishedRow, bytes_of, choice, versions
from profiler.catalog import find_gpu
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "fitcheck_t4.csv"

_MIB = 2**20
_METHODS = {"lora": "lora", "qlora": "lora", "full": "full"}
_OPTIMIZERS = {"adamw": "adamw", "adam8bit": "adamw-8bit", "sgd": "sgd"}
_ATTENTION = {"eager": "eager", "sdpa": "sdpa-efficient"}


def published_row(cells: Mapping[str, str]) -> PublishedRow:
    """Return a row of the file.

    Raises:
        UsageError: If the row says something that a trial cannot express.
    """
    return PublishedRow(
        name=f"{cells['session']} {cells['model_id']} {cells['quantization']} {cells['attn_impl']} "
        f"{cells['batch_size']}x{cells['seq_len']}",
        gpu=find_gpu(cells["gpu"]),
        spec=TrialSpec.parse(
            {
                "model": cells["model_id"],
                "method": choice(cells, "method", _METHODS),
                "method_options": {
                    "r": int(cells["lora_rank"]),
                    "lora_alpha": int(cells["lora_alpha"]),
                    "lora_dropout": float(cells["lora_dropout"]),
                    "target_modules": cells["lora_targets"].split("|"),
                },
                "quantization": cells["quantization"],
                "double_quant": cells["double_quant"] == "True",
                "precision": cells["precision"],
                "optimizer": choice(cells, "optimizer", _OPTIMIZERS),
                "batch_size": int(cells["batch_size"]),
                "sequence_length": int(cells["seq_len"]),
                "gradient_accumulation": int(cells["grad_accum"]),
                "gradient_checkpointing": "full" if cells["grad_checkpoint"] == "True" else "none",
                "attention": choice(cells, "attn_impl", _ATTENTION),
                "padding_mask": False,
                "use_cache": False,
                "max_grad_norm": 0.0,
                "loop": "function",
            }
        ),
        steps=2,
        first_step=1,
        reserved_bytes=bytes_of(cells["peak_reserved_mib"], _MIB),
        allocated_bytes=bytes_of(cells["peak_allocated_mib"], _MIB),
        completed=cells["outcome"] == "completed",
        libraries=versions(cells),
    )
