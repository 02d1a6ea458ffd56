"""The device's memory, as cudaMalloc and cuMemCreate see it: so many bytes, and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class DeviceMemory:
    """How much memory there is, and how much of it is taken.

    Args:
        capacity_bytes: How much there is; None for no limit.
        address_of: Where a new segment of so many bytes lies; unless told, above all segments before it.

    Attributes:
        capacity_bytes: How much there is; None for no limit.
        reserved_bytes: How much is taken now.
        peak_reserved_bytes: The most that was taken at once.
        end_address: Above all segments placed so far.
    """

    __slots__ = ("_address_of", "capacity_bytes", "end_address", "peak_reserved_bytes", "reserved_bytes")

    def __init__(
        self, capacity_bytes: int | None = None, address_of: Callable[[int], int] | None = None
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.reserved_bytes = 0
        self.peak_reserved_bytes = 0
        self.end_address = 0
        self._address_of = address_of

    def take(self, nbytes: int) -> bool:
        """Take memory; whether there was enough."""
        reserved = self.reserved_bytes + nbytes
        if self.capacity_bytes is not None and reserved > self.capacity_bytes:
            return False
        self.reserved_bytes = reserved
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, reserved)
        return True

    def give_back(self, nbytes: int) -> None:
        """Return memory."""
        self.reserved_bytes -= nbytes

    def place(self, nbytes: int, *, alignment: int = 1) -> int:
        """Return the address of a new segment."""
        if self._address_of is not None:
            return self._address_of(nbytes)
        address = round_up(self.end_address, alignment)
        self.end_address = address + nbytes
        return address


def round_up(nbytes: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `nbytes`."""
    return -(-nbytes // multiple) * multiple
