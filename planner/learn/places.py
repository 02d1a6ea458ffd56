"""Where trials would run: on a GPU of the catalogue beside this host, or on this machine's own device."""

from __future__ import annotations

from estimators.features import Place
from profiler.catalog import find_gpu
from profiler.devices import find_device
from profiler.environment import environment_of, host_facts


def place_beside(gpu: str) -> Place:
    """Return a GPU of the catalogue in this machine.

    Raises:
        UsageError: If there is no such GPU.
    """
    return Place.on(find_gpu(gpu), host_facts())


def place_here() -> Place:
    """Return the device that trials run on where none is named."""
    device = find_device()
    return Place.of(device.name, environment_of(device).facts)
