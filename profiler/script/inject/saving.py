"""Saving goes on, but for the data: files get their true names, headers and lengths, and holes for tensors.

On a virtual GPU there is no data, and on a real one it is not wanted; a hole takes no room on the disk.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import struct
from typing import TYPE_CHECKING, Any

from .timeline import SAVE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from .events import Events
    from .files import FileGuard
    from .imports import ImportHooks
    from .stopping import StepCount
    from .timeline import Timeline

# Files up to here are written whole: states of random numbers and schedulers, which scripts read again.
WHOLE_BYTES = 16 * 2**20


class SavingGuard:
    """Replaces the functions that save tensors.

    Args:
        files: Says where files go.
        timeline: Is told of the phase.
        steps: Counts the steps.
        events: Takes the counts.
    """

    def __init__(self, files: FileGuard, timeline: Timeline, steps: StepCount, events: Events) -> None:
        self._files, self._timeline, self._steps, self._events = files, timeline, steps, events

    def install(self, imports: ImportHooks) -> None:
        """Replace each, once it is imported."""
        imports.after("torch", self._guard_torch)
        imports.after("safetensors", self._guard_safetensors)
        imports.after("safetensors.torch", self._guard_safetensors_torch)
        imports.after("tokenizers", self._guard_tokenizers)
        imports.after("pyarrow", self._guard_pyarrow)
        imports.after("torch.distributed.checkpoint.state_dict_saver", self._guard_distributed)
        imports.after("transformers.modeling_utils", self._mark("PreTrainedModel", "save_pretrained"))
        imports.after("peft.peft_model", self._mark("PeftModel", "save_pretrained"))
        imports.after("transformers.trainer", self._mark("Trainer", "save_model", "_save_checkpoint"))

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        before = self._timeline.now
        self._timeline.begin(SAVE, step=self._steps.last)
        try:
            yield
        finally:
            self._timeline.begin(before.phase, step=before.step)

    def _mark(self, owner: str, *names: str) -> Any:
        """Return an action that makes methods of a class a phase of their own."""

        def act(module: ModuleType) -> None:
            for name in names:
                real = getattr(getattr(module, owner), name)

                @functools.wraps(real)
                def marked(*arguments: Any, _real: Any = real, **named: Any) -> Any:
                    with self._saving():
                        return _real(*arguments, **named)

                setattr(getattr(module, owner), name, marked)

        return act

    def _guard_torch(self, torch: Any) -> None:
        real_save, real_load = torch.save, torch.load
        skip_data = torch.serialization.skip_data

        @functools.wraps(real_save)
        def save(obj: Any, f: Any, *arguments: Any, **named: Any) -> None:
            is_path = isinstance(f, str | os.PathLike)
            if not is_path or named.get("_use_new_zipfile_serialization") is False or len(arguments) > 2:
                real_save(obj, f, *arguments, **named)
                return
            self._events.count("saves", os.path.basename(f))
            path = self._files.to_write(f)
            with self._saving():
                with skip_data():
                    real_save(obj, path, *arguments, **named)
                if os.path.getsize(path) <= WHOLE_BYTES:
                    real_save(obj, path, *arguments, **named)

        @functools.wraps(real_load)
        def load(f: Any, *arguments: Any, **named: Any) -> Any:
            return real_load(self._files.to_read(f), *arguments, **named)

        torch.save = torch.serialization.save = save
        torch.load = torch.serialization.load = load

    def _guard_safetensors(self, safetensors: ModuleType) -> None:
        real_open, real_serialize = safetensors.safe_open, safetensors.serialize_file

        def safe_open(filename: Any, *arguments: Any, **named: Any) -> Any:
            return real_open(self._files.to_read(filename), *arguments, **named)

        def serialize_file(tensors: Any, filename: Any, *arguments: Any, **named: Any) -> Any:
            return real_serialize(tensors, self._files.to_write(filename), *arguments, **named)

        safetensors.safe_open = safe_open  # type: ignore[attr-defined]
        safetensors.serialize_file = serialize_file  # type: ignore[attr-defined]

    def _guard_safetensors_torch(self, module: ModuleType) -> None:
        real = module.save_file
        names = {dtype: name for name, dtype in module._TYPES.items()}

        @functools.wraps(real)
        def save_file(tensors: Any, filename: Any, metadata: Any = None) -> None:
            self._events.count("saves", os.path.basename(filename))
            sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
            with self._saving():
                if sum(sizes.values()) <= WHOLE_BYTES:
                    real(tensors, filename, metadata)
                    return
                _write_hollow(
                    self._files.to_write(filename),
                    {name: (names[tensor.dtype], list(tensor.shape)) for name, tensor in tensors.items()},
                    sizes,
                    metadata,
                )

        module.save_file = save_file  # type: ignore[attr-defined]

    def _guard_tokenizers(self, tokenizers: ModuleType) -> None:
        real = tokenizers.Tokenizer.save

        def save(tokenizer: Any, path: Any, pretty: bool = True) -> None:
            real(tokenizer, self._files.to_write(path), pretty)

        tokenizers.Tokenizer.save = save

    def _guard_pyarrow(self, pyarrow: ModuleType) -> None:
        real_file, real_map = pyarrow.OSFile, pyarrow.memory_map

        def os_file(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            is_read = mode in ("r", "rb")
            where = self._files.to_read(path) if is_read else self._files.to_write(path, keep="a" in mode)
            return real_file(os.fspath(where), mode, *arguments, **named)

        def memory_map(path: Any, mode: str = "r") -> Any:
            is_read = mode in ("r", "rb")
            return real_map(
                self._files.to_read(path) if is_read else self._files.to_write(path, keep=True), mode
            )

        pyarrow.OSFile = os_file  # type: ignore[attr-defined]
        pyarrow.memory_map = memory_map  # type: ignore[attr-defined]

    def _guard_distributed(self, module: ModuleType) -> None:
        def saved(*arguments: Any, **named: Any) -> Any:
            from torch.distributed.checkpoint.metadata import Metadata

            self._events.count("saves", str(named.get("checkpoint_id") or "distributed checkpoint"))
            with self._saving():
                return Metadata(state_dict_metadata={})

        def saved_later(*arguments: Any, **named: Any) -> Any:
            from concurrent.futures import Future

            future: Future[Any] = Future()
            future.set_result(saved(*arguments, **named))
            return future

        module.save = module.save_state_dict = saved  # type: ignore[attr-defined]
        module.async_save = saved_later  # type: ignore[attr-defined]


def _write_hollow(
    path: str, kinds: dict[str, tuple[str, list[int]]], sizes: dict[str, int], metadata: dict[str, str] | None
) -> None:
    """Write a safetensors file (its README has the format) whose data is a hole."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in kinds.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + sizes[name]]}
        end += sizes[name]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
