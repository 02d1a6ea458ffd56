"""What could be changed about a trial so that it needs less memory, from the least change to the greatest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError
from profiler.spec.methods import PLAIN_METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from planner.fit.sizes import LargestSizes
    from profiler.spec import TrialSpec

# Kinds of changes, ranked: first those after which the same numbers are computed as fast, then the same
# numbers more slowly, then other numbers, then other weights, then other data, and last other training.
KINDS = (
    "attention", "allocator", "loss", "checkpointing", "batch", "optimizer", "quantization", "length",
    "method",
)  # fmt: skip
_ALWAYS_COMBINED = {"attention", "checkpointing"}
_ALSO_COMBINED = ({"loss"}, {"optimizer"}, {"quantization"})
_LEAST_LENGTH = 1 / 4
"""Part of the length below which cutting the samples is no way to train on them."""
_EIGHT_BIT = {
    "adamw": "adamw-8bit",
    "adamw-fused": "adamw-8bit",
    "paged-adamw": "paged-adamw-8bit",
    "lion": "lion-8bit",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One or several settings that a trial could have instead."""

    words: str
    kinds: frozenset[str]
    fields: Mapping[str, Any] = field(hash=False)

    @property
    def rank(self) -> int:
        """How much it changes; the farthest-reaching kind weighs more than all before it together."""
        return sum(1 << KINDS.index(kind) for kind in self.kinds)

    def applied_to(self, spec: TrialSpec) -> TrialSpec | None:
        """Return the changed trial; None if no trial can have these settings together."""
        try:
            return spec.with_changes(**self.fields)
        except UsageError:
            return None


def single_changes(spec: TrialSpec, sizes: LargestSizes | None) -> list[Change]:
    """Return the changes of one kind each, ranked; smaller batches may come twice, the larger one first.

    Args:
        spec: The trial.
        sizes: What fits of it as it is; None if that is not known.
    """
    return sorted(_changes(spec, sizes), key=lambda change: change.rank)


def _changes(spec: TrialSpec, sizes: LargestSizes | None) -> Iterator[Change]:
    if spec.attention in ("eager", "sdpa-math"):
        yield _change("attention", "PyTorch's own attention kernels (sdpa)", attention="sdpa")
    if spec.allocator == "default":
        yield _change("allocator", "expandable segments of the allocator", allocator="expandable")
    if spec.loss_kernel == "standard":
        yield _change("loss", "fused loss (liger)", loss_kernel="liger")
    if spec.gradient_checkpointing == "none":
        yield _change("checkpointing", "gradient checkpointing", gradient_checkpointing="full")
    for batch_size in smaller_batches(spec.batch_size, sizes):
        yield _smaller_batch(spec, batch_size)
    if optimizer := _EIGHT_BIT.get(spec.optimizer):
        yield _change("optimizer", f"8-bit optimizer ({optimizer})", optimizer=optimizer)
    if spec.method not in PLAIN_METHODS and spec.quantization in ("none", "int8"):
        words = "frozen weights in 4 bits (QLoRA)" if spec.method == "lora" else "frozen weights in 4 bits"
        yield _change("quantization", f"{words}: nf4", quantization="nf4")
    length = sizes.sequence_length if sizes else None
    if length is not None and _LEAST_LENGTH * spec.sequence_length <= length < spec.sequence_length:
        words = f"sequences of {length:,} tokens"
        yield _change("length", words, sequence_length=length)


def smaller_batches(batch_size: int, sizes: LargestSizes | None) -> list[int]:
    """Return up to two divisors of a batch size, with which accumulation keeps the whole batch.

    The largest that fits without accumulation, and the next smaller one should that need more; the largest
    and 1 where nothing is known of what fits.
    """
    divisors = [size for size in range(batch_size - 1, 0, -1) if batch_size % size == 0]
    if sizes is None:
        return sorted({*divisors[:1], *divisors[-1:]}, reverse=True)
    return [size for size in divisors if size <= (sizes.batch_size or 0)][:2]


def combined_changes(spec: TrialSpec, possible: list[Change], count: int) -> list[Change]:
    """Return combinations of changes, ranked: checkpointing and sdpa, with `count` of the others.

    Each comes with expandable segments as well, which no trainer's file can ask for.

    Args:
        spec: The trial.
        possible: Single changes that no library refuses.
        count: How many of a fused loss, a batch of one sample, an 8-bit optimizer and quantised weights.
    """
    base = [change for change in possible if change.kinds <= _ALWAYS_COMBINED]
    allocator = [change for change in possible if change.kinds == {"allocator"}]
    others = [change for change in possible if change.kinds in _ALSO_COMBINED]
    if spec.batch_size > 1:
        others.append(_smaller_batch(spec, 1))
    combinations = [[*base, *some] for some in itertools.combinations(others, count)]
    combinations += [[*changes, *allocator] for changes in combinations if allocator]
    together = [_together(changes) for changes in combinations if len(changes) > 1]
    return sorted(together, key=lambda change: change.rank)


def method_changes(spec: TrialSpec) -> list[Change]:
    """Return adapters in place of training all weights, for when nothing less helps; ranked."""
    if spec.method != "full" or spec.task == "image-classification":
        return []
    lora = _change("method", "LoRA adapters instead of all weights", method="lora")
    quantized = _change("quantization", "frozen weights in 4 bits (QLoRA): nf4", quantization="nf4")
    checkpointing = _change("checkpointing", "gradient checkpointing", gradient_checkpointing="full")
    added = [checkpointing] if spec.gradient_checkpointing == "none" else []
    kinds = [[lora], [lora, *added], [lora, quantized], [lora, quantized, *added]]
    return sorted((_together(changes) for changes in kinds), key=lambda change: change.rank)


def _smaller_batch(spec: TrialSpec, batch_size: int) -> Change:
    accumulation = spec.gradient_accumulation * (spec.batch_size // batch_size)
    words = f"batch size {batch_size} with accumulation {accumulation}"
    return _change("batch", words, batch_size=batch_size, gradient_accumulation=accumulation)


def _change(kind: str, words: str, **fields: Any) -> Change:
    return Change(words=words, kinds=frozenset({kind}), fields=fields)


def _together(changes: list[Change]) -> Change:
    ordered = sorted(changes, key=lambda change: change.rank)
    return Change(
        words=" + ".join(change.words for change in ordered),
        kinds=frozenset().union(*(change.kinds for change in ordered)),
        fields={name: value for change in ordered for name, value in change.fields.items()},
    )
