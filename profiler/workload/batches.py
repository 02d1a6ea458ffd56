"""Batches of random data with the shapes, lengths and padding that a spec asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from profiler.workload.methods import TASK_ID_METHODS
from profiler.workload.model import weight_dtype

if TYPE_CHECKING:
    from profiler.spec import TrialSpec

_IGNORED = -100  # the label that transformers' losses leave out


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One micro-batch on the host."""

    inputs: dict[str, torch.Tensor]
    samples: int
    tokens: int | None
    """Tokens, padding included; None for images."""
    tokens_nonpad: int | None

    def to(self, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the inputs on the device, as a data loader's consumer would move them."""
        return {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}


class Batches:
    """Makes the batch of any step: the same spec gives the same shapes and values everywhere."""

    def __init__(self, spec: TrialSpec, config: Any, *, batch_size: int | None = None) -> None:
        """Make batches of `batch_size` samples, by default the spec's."""
        self._spec = spec
        self._config = config
        self._batch_size = batch_size or spec.batch_size
        self._image_batch: Batch | None = None

    def batch(self, step: int, micro_batch: int = 0) -> Batch:
        """Return the batch of a micro-batch of an optimizer step."""
        generator = torch.Generator().manual_seed(1 + step * self._spec.gradient_accumulation + micro_batch)
        if self._spec.task == "image-classification":
            # Millions of random pixels take as long as a step of a GPU: they are drawn once.
            self._image_batch = self._image_batch or self._images(generator)
            return self._image_batch
        return self._tokens(self._lengths(step, micro_batch), generator)

    def _lengths(self, step: int, micro_batch: int) -> list[list[int]]:
        """Return the lengths of the samples in each row: several in a row only when packed."""
        spec = self._spec
        if isinstance(spec.lengths, Mapping):
            index = step * spec.gradient_accumulation + micro_batch
            draw = np.random.default_rng([spec.lengths_seed, index])
            choices = np.array([int(length) for length in spec.lengths])
            weights = np.array([float(count) for count in spec.lengths.values()])
            shares = weights / weights.sum()
            if spec.packing:
                return [
                    _packed_row(draw, choices, shares, spec.sequence_length) for _ in range(self._batch_size)
                ]
            drawn = draw.choice(choices, size=self._batch_size, p=shares)
            return [[int(length)] for length in drawn]
        longest = spec.lengths[step % len(spec.lengths)] if spec.lengths else spec.sequence_length
        lengths = [[longest] for _ in range(self._batch_size)]
        if spec.padding_mask and longest > 1:
            # One padded position is enough that the mask is not all ones, which transformers would drop.
            lengths[-1] = [longest - 1]
        return lengths

    def _tokens(self, lengths: list[list[int]], generator: torch.Generator) -> Batch:
        spec, text = self._spec, self._config.get_text_config()
        filled = torch.tensor([sum(row) for row in lengths])
        width = spec.sequence_length if spec.packing else self._width(lengths)
        shape = (len(lengths), width)
        ids = torch.randint(0, text.vocab_size, shape, generator=generator)
        is_token = torch.arange(width)[None, :] < filled[:, None]
        ids[~is_token] = text.pad_token_id
        inputs = {"input_ids": ids}
        if spec.packing:
            inputs["position_ids"] = torch.stack([_packed_positions(row, width) for row in lengths])
        elif spec.padding_mask:
            inputs["attention_mask"] = is_token.long()
        if spec.task == "sequence-classification":
            inputs["labels"] = torch.randint(0, self._config.num_labels, (len(lengths),), generator=generator)
        else:
            inputs["labels"] = ids.masked_fill(~is_token, _IGNORED)
        if spec.method in TASK_ID_METHODS:
            inputs["task_ids"] = torch.zeros(len(lengths), dtype=torch.long)
        return Batch(
            inputs=inputs,
            samples=sum(len(row) for row in lengths),
            tokens=len(lengths) * width,
            tokens_nonpad=int(filled.sum()),
        )

    def _width(self, lengths: list[list[int]]) -> int:
        longest = max(sum(row) for row in lengths)
        if isinstance(self._spec.lengths, Mapping):
            return longest
        # A fixed length is a padded length: a batch of one sample keeps its one padded position.
        return longest + 1 if self._spec.padding_mask and len(lengths) == 1 and longest > 1 else longest

    def _images(self, generator: torch.Generator) -> Batch:
        size = self._config.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        shape = (self._batch_size, self._config.num_channels, height, width)
        pixels = torch.randn(shape, generator=generator).to(weight_dtype(self._spec))
        labels = torch.randint(0, self._config.num_labels, (self._batch_size,), generator=generator)
        return Batch(
            inputs={"pixel_values": pixels, "labels": labels},
            samples=self._batch_size,
            tokens=None,
            tokens_nonpad=None,
        )


def _packed_row(draw: Any, choices: Any, shares: Any, capacity: int) -> list[int]:
    """Draw samples until the next does not fit; a sample longer than the row is cut to it."""
    row: list[int] = []
    while True:
        length = min(int(draw.choice(choices, p=shares)), capacity)
        if sum(row) + length > capacity:
            return row
        row.append(length)


def _packed_positions(row: list[int], width: int) -> torch.Tensor:
    """Return position ids that start anew with each sample, and once more for what is left of the row."""
    parts = [*row, width - sum(row)]
    return torch.cat([torch.arange(length) for length in parts])
