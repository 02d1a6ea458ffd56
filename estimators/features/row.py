"""`FeatureRow`: what is known of a configuration before it is measured, under documented names and units.

`NUMBERS` and `CATEGORIES` are the table of features; training and prediction both get theirs from
`feature_row`. A feature that does not apply is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiler.catalog.gpu_memory import gpu_memory
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from estimators.features.place import Place
    from estimators.features.totals import StepTotals
    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature: its unit and its definition."""

    unit: str
    text: str
    is_setting: bool = False
    """Whether a person sets it, so that a value beyond those measured is outside the data."""


NUMBERS: dict[str, Feature] = {
    "batch_size": Feature(unit="samples", text="Samples per micro-batch.", is_setting=True),
    "sequence_length": Feature(
        unit="tokens", text="Padded length; the mean of the steps where it varies.", is_setting=True
    ),
    "gradient_accumulation": Feature(
        unit="micro-batches", text="Micro-batches per optimizer step.", is_setting=True
    ),
    "tokens_per_step": Feature(unit="tokens", text="Batch size, length and accumulation, multiplied."),
    "rank": Feature(unit="1", text="Option r of the method.", is_setting=True),
    "trainable_parameters": Feature(unit="1", text="Parameters that are trained."),
    "total_parameters": Feature(unit="1", text="Parameters of the model with its adapter."),
    "modules": Feature(unit="1", text="Modules that a step runs through."),
    "operators": Feature(unit="1", text="Operators of a step, views left out: what the host issues."),
    "operators_backward": Feature(unit="1", text="Those of backward."),
    "operators_optimizer": Feature(unit="1", text="Those of the optimizer."),
    "flops_16bit": Feature(unit="FLOP", text="Products, convolutions and attention on 16-bit operands."),
    "flops_other": Feature(unit="FLOP", text="The same on other operands."),
    "bytes_moved": Feature(unit="B", text="Bytes that the operators read and write."),
    "predicted_allocated_bytes": Feature(unit="B", text="Peak of tensors by the symbolic engine."),
    "predicted_reserved_bytes": Feature(
        unit="B", text="Peak of segments by replay in the allocator; absent on the CPU."
    ),
    "predicted_process_bytes": Feature(
        unit="B", text="Reserved and the catalogue's CUDA context; on the CPU the peak of tensors."
    ),
    "bandwidth_bytes_per_second": Feature(unit="B/s", text="Memory bandwidth; absent on the CPU."),
    "peak_flops_16bit_per_second": Feature(
        unit="FLOP/s", text="Dense peak for the 16-bit type; absent on the CPU."
    ),
    "peak_flops_other_per_second": Feature(unit="FLOP/s", text="Peak of fp32; absent on the CPU."),
    "memory_bytes": Feature(unit="B", text="Total of the GPU's memory by its driver; absent on the CPU."),
    "multiprocessors": Feature(unit="1", text="Streaming multiprocessors; absent on the CPU."),
    "compute_16bit_seconds": Feature(unit="s", text="flops_16bit over its peak rate."),
    "compute_other_seconds": Feature(unit="s", text="flops_other over its peak rate."),
    "memory_seconds": Feature(unit="s", text="bytes_moved over the bandwidth."),
}

CATEGORIES: dict[str, str] = {
    "model": "Catalogue id, hub id or folder.",
    "method": "Method, with the variant that changes its step: dora, rslora, ....",
    "precision": "As in the trial.",
    "quantization": "As in the trial.",
    "optimizer": "As in the trial.",
    "gradient_checkpointing": "As in the trial.",
    "attention": "As in the trial.",
    "loss_kernel": "As in the trial.",
    "compile": "As in the trial.",
    "loop": "As in the trial.",
    "kind": "cpu or cuda.",
    "device": "Id of the GPU in the catalogue, or name of the CPU.",
    "torch_version": "Major and minor version.",
    "transformers_version": "Major and minor version.",
    "peft_version": "Major and minor version.",
}

VARIANTS = ("use_dora", "use_rslora", "use_bdlora", "use_qalora")
"""Options of a method that make it another method."""


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """Features of one configuration in one place."""

    numbers: Mapping[str, float]
    """By the names of `NUMBERS`, above 0; what does not apply is left out."""
    categories: Mapping[str, str]
    """By the names of `CATEGORIES`; what is not known is left out."""


def feature_row(spec: TrialSpec, place: Place, totals: StepTotals) -> FeatureRow:
    """Return the features of a trial on a device, with the totals of its traced step."""
    length = mean_length(spec)
    tokens = None if length is None else spec.batch_size * length * spec.gradient_accumulation
    numbers: dict[str, float | None] = {
        "batch_size": spec.batch_size,
        "sequence_length": length,
        "gradient_accumulation": spec.gradient_accumulation,
        "tokens_per_step": tokens,
        "rank": _rank(spec),
        **totals.features,
        **_hardware(spec, place.gpu),
    }
    numbers["predicted_process_bytes"] = _process_bytes(totals, place.gpu)
    for seconds, work, rate in _RATIOS:
        if (amount := numbers[work]) is not None and (speed := numbers.get(rate)):
            numbers[seconds] = amount / speed
    categories = {
        "model": spec.model,
        "method": method_label(spec),
        "precision": spec.precision,
        "quantization": spec.quantization,
        "optimizer": spec.optimizer,
        "gradient_checkpointing": spec.gradient_checkpointing,
        "attention": spec.attention,
        "loss_kernel": spec.loss_kernel,
        "compile": str(spec.compile).lower(),
        "loop": spec.loop,
        "kind": "cpu" if place.target.is_cpu else "cuda",
        "device": place.device,
        **{name: version for name in _VERSIONS if (version := _minor(place.facts.get(name)))},
    }
    return FeatureRow(
        numbers={name: float(value) for name, value in numbers.items() if value},
        categories=categories,
    )


_RATIOS = (
    ("compute_16bit_seconds", "flops_16bit", "peak_flops_16bit_per_second"),
    ("compute_other_seconds", "flops_other", "peak_flops_other_per_second"),
    ("memory_seconds", "bytes_moved", "bandwidth_bytes_per_second"),
)
_VERSIONS = ("torch_version", "transformers_version", "peft_version")


def method_label(spec: TrialSpec) -> str:
    """Return the method with its variant, such as `dora` for `lora` with `use_dora`."""
    variants = [name.removeprefix("use_") for name in VARIANTS if spec.method_options.get(name) is True]
    return "+".join(variants) or spec.method


def mean_length(spec: TrialSpec) -> float | None:
    """Return the mean padded length of a spec's samples in tokens; None for images."""
    if spec.task == "image-classification":
        return None
    if spec.lengths is None or spec.packing:
        return float(spec.sequence_length)
    if isinstance(spec.lengths, tuple):
        return sum(spec.lengths) / len(spec.lengths)
    counts = {int(length): count for length, count in spec.lengths.items()}
    return sum(length * count for length, count in counts.items()) / sum(counts.values())


def _rank(spec: TrialSpec) -> float | None:
    rank: Any = spec.method_options.get("r")
    return float(rank) if isinstance(rank, int | float) and not isinstance(rank, bool) else None


def _process_bytes(totals: StepTotals, gpu: GpuFacts | None) -> float | None:
    if gpu is None:
        return totals.predicted_allocated_bytes
    if totals.predicted_reserved_bytes is None:
        return None
    try:
        return totals.predicted_reserved_bytes + gpu_memory(gpu).context_bytes
    except NotPossibleError:
        return None


def _hardware(spec: TrialSpec, gpu: GpuFacts | None) -> dict[str, float | None]:
    if gpu is None:
        return {}
    is_fp16 = spec.precision.endswith("fp16")
    tflops = gpu.fp16_tflops_dense if is_fp16 else gpu.bf16_tflops_dense
    return {
        "bandwidth_bytes_per_second": gpu.bandwidth_gb_s and gpu.bandwidth_gb_s * 1e9,
        "peak_flops_16bit_per_second": tflops and tflops * 1e12,
        "peak_flops_other_per_second": gpu.fp32_tflops and gpu.fp32_tflops * 1e12,
        "memory_bytes": gpu.memory_mib and gpu.memory_mib * 2**20,
        "multiprocessors": gpu.sm_count,
    }


def _minor(version: Any) -> str | None:
    return ".".join(str(version).split("+")[0].split(".")[:2]) if version else None
