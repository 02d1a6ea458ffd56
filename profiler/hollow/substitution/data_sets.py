"""Says why a data set that is not on this machine is not there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def guard_loading(module: Any, note: Callable[[str], None]) -> None:
    """Act on `datasets`."""
    real = module.load_dataset

    @functools.wraps(real)
    def load_dataset(path: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return real(path, *arguments, **named)
        except (ConnectionError, FileNotFoundError):  # DatasetNotFoundError is one of the latter
            note(f"the data set {path} cannot be had here, and data sets are not substituted as models are")
            raise

    module.load_dataset = load_dataset
