"""One trial at a time on a device, whoever starts it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def device_lock(device: str, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a device for one trial; waits for another's trial to end.

    The lock is the kernel's and ends with the process that holds it, however that ends.

    Args:
        device: Name of the device.
        waiting: Called once when another holds it.

    Raises:
        SizeupError: If the folder for locks cannot be written.
    """
    folder = platformdirs.user_cache_path("sizeup") / "locks"
    lock = FileLock(folder / f"{device.replace(':', '-')}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting is not None:
                waiting()
            lock.acquire(poll_interval=0.1)
    except (OSError, NotImplementedError) as error:  # a file system without locks raises the second
        raise SizeupError(
            f"cannot lock {device} in {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error
    try:
        yield
    finally:
        lock.release()
