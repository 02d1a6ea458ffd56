"""can-i-finetune-this: two or three steps on an RTX 4080 under Windows (bench/runner.py of the project).

The loop: forward with a mask of ones (which transformers drops), without autocast, backward, optimizer, no
clipping, `zero_grad`; `outputs` lives until the next forward has replaced it. Peaks are those of the whole
process, loading included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.published.rows import PublishedRow, bytes_of, choice, versions
from profiler.catalog import find_gpu, find_model
from profiler.errors import UsageError
from profiler.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "canifinetune_rtx4080.csv"

_GIB = 2**30
_METHODS = {"lora": "lora", "qlora": "lora", "full": "full"}
_QUANTIZATIONS = {"none": "none", "nf4": "nf4", "nf4_double_quant": "nf4"}
_OPTIMIZERS = {"paged_adamw_8bit": "paged-adamw-8bit", "adamw_8bit": "adamw-8bit", "adamw_torch": "adamw"}


def published_row(cells: Mapping[str, str]) -> PublishedRow:
    """Return a row of the file.

    Raises:
        UsageError: If the row says something that a trial cannot express.
    """
    quantization = choice(cells, "quantization_effective", _QUANTIZATIONS)
    return PublishedRow(
        name=f"{cells['model_id']} {cells['quantization_effective']} {cells['batch_size']}x{cells['seq_len']}"
        + (" checkpointing" if cells["gradient_checkpointing"] == "True" else ""),
        gpu=find_gpu(cells["gpu"].removeprefix("NVIDIA ")),
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
                "quantization": quantization,
                "double_quant": cells["quantization_effective"].endswith("double_quant"),
                "precision": cells["base_dtype"],
                "optimizer": choice(cells, "optimizer", _OPTIMIZERS),
                "batch_size": int(cells["batch_size"]),
                "sequence_length": int(cells["seq_len"]),
                "gradient_accumulation": int(cells["grad_accum"]),
                "gradient_checkpointing": "full" if cells["gradient_checkpointing"] == "True" else "none",
                "attention": _attention(cells, quantization),
                "padding_mask": False,
                "max_grad_norm": 0.0,
                "loop": "raw",
            }
        ),
        steps=int(cells["steps"]),
        first_step=None,
        reserved_bytes=bytes_of(cells["peak_reserved_gib"], _GIB),
        allocated_bytes=bytes_of(cells["peak_allocated_gib"], _GIB),
        completed=cells["success"] == "True",
        libraries=versions(cells),
    )


def _attention(cells: Mapping[str, str], quantization: str) -> str:
    """Return the attention, pinned where the torch of the row takes another kernel than the installed one.

    A model prepared for k-bit training computes attention in fp32, which flash refuses; with grouped heads
    the memory-efficient kernel refuses it as well until torch 2.14 (sdp_utils.cpp), and math is left.
    """
    major, minor = cells["torch"].split(".")[:2]
    if cells["attention"] != "sdpa" or quantization == "none" or (int(major), int(minor)) >= (2, 14):
        return cells["attention"]
    try:
        config = find_model(cells["model_id"]).config
    except UsageError:
        return cells["attention"]  # unknown to the catalogue: nothing says that its heads are grouped
    is_grouped = config.get("num_key_value_heads", 0) not in (0, config.get("num_attention_heads"))
    return "sdpa-math" if is_grouped else cells["attention"]
