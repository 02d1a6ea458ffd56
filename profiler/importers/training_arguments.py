"""`training_args.bin` read without running what is in it: a pickle can call anything that can be imported.

Every class and function that the pickle names becomes an inert stand-in, which only keeps what it was given.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 16 * 2**20  # such files have some kilobytes
# Arguments that older or newer releases of transformers do not have, and what their absence means.
_DEFAULTS: dict[str, Any] = {
    "gradient_checkpointing_kwargs": None, "use_liger_kernel": False, "torch_empty_cache_steps": None,
    "torch_compile": False, "bf16": False, "fp16": False, "use_cpu": False, "resume_from_checkpoint": None,
    "metric_for_best_model": None,
}  # fmt: skip
_NEEDED = ("optim", "per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing",
           "max_grad_norm")  # fmt: skip


class _Inert:
    """Stands for an object of a foreign class."""

    def __new__(cls, *arguments: Any, **_named: Any) -> _Inert:
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = {}
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an entry of what is a mapping there."""

    def append(self, value: Any) -> None:
        """Take an item of what is a list there."""

    @property
    def value(self) -> Any:
        """What an enumeration's member was made of."""
        return self.arguments[0] if self.arguments else None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return type(global_name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> None:
        """Leave tensors away."""


def read_training_arguments(path: Path) -> SimpleNamespace:
    """Return the arguments that a Trainer saved, and `device_type` and `processes` where they tell them.

    Raises:
        UsageError: If the file is none that a Trainer saves.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            if archive.getinfo(member).file_size > _MOST_BYTES:
                raise UsageError(f"{path} is too large for arguments of a Trainer")
            loaded = _Unpickler(io.BytesIO(archive.read(member))).load()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UsageError:
        raise
    except Exception:  # a damaged pickle raises anything
        raise UsageError(f"{path} holds no arguments of a Trainer") from None
    state = getattr(loaded, "state", None)
    if not isinstance(loaded, _Inert) or not isinstance(state, dict) or set(_NEEDED) - set(state):
        raise UsageError(f"{path} holds no arguments of a Trainer")
    distributed = getattr(state.get("distributed_state"), "state", None)
    distributed = distributed if isinstance(distributed, dict) else {}
    device = distributed.get("device")
    return SimpleNamespace(
        **{
            **_DEFAULTS,
            **{name: value for name, value in state.items() if isinstance(name, str)},
            "device_type": device.value if isinstance(device, _Inert) else None,
            "processes": distributed.get("num_processes"),
        }
    )
