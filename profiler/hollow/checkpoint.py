"""Writes a hollow checkpoint: what `from_pretrained` reads, with holes where the weights would be."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import transformers
from transformers.utils import logging

from profiler.errors import NotPossibleError, first_line
from profiler.hollow.folder import check_folder, disk_bytes, move_in, write_marker
from profiler.hollow.image_processor import write_image_processor
from profiler.hollow.sparse_file import write_sparse_file
from profiler.hollow.tokenizer import write_tokenizer
from profiler.model_config import AUTO_CLASSES, model_configuration
from profiler.spec.normalize import normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

# huggingface_hub.constants.MAX_SHARD_SIZE: how checkpoints on the hub are split.
_SHARD_SIZE = "5GB"


@dataclass(frozen=True, kw_only=True)
class HollowCheckpoint:
    """A hollow checkpoint that was written."""

    folder: Path
    model: str
    """The catalogue's or hub's id, or the folder it was made from."""
    architecture: str
    """transformers' class of the model."""
    dtype: str
    parameters: int
    files: tuple[str, ...]
    apparent_bytes: int
    """What the files look like: the size of the real checkpoint."""
    disk_bytes: int
    """What they take."""


def write_hollow_checkpoint(model: str, folder: str | Path, *, force: bool = False) -> HollowCheckpoint:
    """Write a folder from which scripts load a model without weights.

    The names, shapes and types of the weights, the shards and what is left out for being tied are those that
    the installed transformers writes when it saves the model, which are those it expects to read.

    Args:
        model: A name of the catalogue, a hub id or a folder with a `config.json`.
        folder: Where to; made if it is not there.
        force: Replace a hollow checkpoint that is there.

    Raises:
        UsageError: If the model is not known or the folder may not be written.
        NotPossibleError: If transformers cannot build the model.
        UnreachableError: If the configuration is only on the hub, and the hub does not answer.
        OSError: If the disk does not take it.
    """
    folder = Path(folder)
    check_folder(folder, force=force)
    resolved = normalize({"model": model})
    skeleton = _skeleton(resolved["model"], resolved.get("task", "causal-lm"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as made:
        _write(skeleton, Path(made))
        write_marker(Path(made), resolved["model"])
        names = sorted(entry.name for entry in Path(made).iterdir())
        move_in(Path(made), folder)
    files = [folder / name for name in names]
    return HollowCheckpoint(
        folder=folder,
        model=resolved["model"],
        architecture=type(skeleton).__name__,
        dtype=str(skeleton.dtype).removeprefix("torch."),
        parameters=skeleton.num_parameters(),
        files=tuple(names),
        apparent_bytes=sum(file.stat().st_size for file in files),
        disk_bytes=disk_bytes(files),
    )


def _skeleton(model: str, task: str) -> Any:
    config = model_configuration(model)
    settings = {"dtype": getattr(config, "dtype", None) or torch.float32}
    (name,) = (config.architectures or [""])[:1]
    named = getattr(transformers, name, None)
    try:
        with torch.device("meta"):
            if named is not None:
                return named._from_config(config, **settings)
            return AUTO_CLASSES[task].from_config(config, **settings)
    except (ValueError, ImportError, TypeError) as error:
        raise NotPossibleError(f"transformers cannot build {model}: {first_line(error)}") from None


def _write(skeleton: Any, folder: Path) -> None:
    for module in skeleton.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:  # transformers 5.8 takes every tensor without data for a parameter
                module._buffers[name] = torch.empty_like(buffer, device="cpu")
    with _saving_without_data():
        skeleton.save_pretrained(folder, max_shard_size=_SHARD_SIZE)
    config = skeleton.config
    if getattr(config.get_text_config(), "vocab_size", None) is not None:
        converses = skeleton.can_generate() and not config.is_encoder_decoder
        write_tokenizer(config.get_text_config(), folder, converses=converses)
    if getattr(config, "image_size", None) is not None:
        write_image_processor(config, folder)


@contextlib.contextmanager
def _saving_without_data() -> Iterator[None]:
    """Let `save_pretrained` decide everything, and write no data."""
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with mock.patch("transformers.modeling_utils.safe_save_file", write_sparse_file):
            yield
    finally:
        if had_bars:
            logging.enable_progress_bar()
