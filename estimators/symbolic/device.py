"""The symbolic device: tensors on it have shapes, types and storages, but no memory behind them."""

from __future__ import annotations

import functools

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "symbolic"


class _Backend:
    """What torch asks of the module of a device (`torch.symbolic`)."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing is drawn on this device."""

    @staticmethod
    def get_rng_state(device: object = None) -> torch.Tensor:
        """Return a state of its own kind, for checkpointing to save and restore."""
        return torch.zeros(16, dtype=torch.uint8)

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: object = None) -> None:
        """Nothing is drawn on this device."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


@functools.cache
def symbolic_device() -> torch.device:
    """Return the device, registering it with torch on the first call.

    Fake tensors on `cuda` fail where no GPU is (in the device guard of a CPU build, in backward of a CUDA
    build), and on `cpu` they could not be told from what really lives in host memory. The slot that torch
    keeps for out-of-tree devices has neither trouble, but one of its own: an exception in backward ends the
    process (its device guard calls Python while the exception is pending).
    """
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend)
    _own_kernels()
    return torch.device(NAME, 0)


@functools.cache
def _own_kernels() -> torch.library.Library:
    """Let autograd find that some operators are kernels here; the library returned keeps them registered.

    `native_functions.yaml` has parts for them, of which torch composes them on every device without a kernel.
    """
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for name in ("silu_backward", "mish_backward"):
        library.impl(name, torch.library.fallthrough_kernel, "PrivateUse1")  # type: ignore[no-untyped-call]
    return library
