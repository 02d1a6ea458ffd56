"""A stand-in for nvidia-ml-py with one GPU, whose answers never change.

`FAKE_NVML` names what it refuses, separated by commas: `driver` (nvmlInit fails), `processes` (the driver
does not tell processes apart), `memory` (processes without figures), or the name of a function.
"""

import os
from types import SimpleNamespace

NVML_CLOCK_SM = 1
NVML_TEMPERATURE_GPU = 0
REFUSED = set(os.environ.get("FAKE_NVML", "").split(","))


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801  # the library's name
    def __str__(self):
        return "Not Supported"


def _answer(name, value):
    def query(*_arguments):
        if name in REFUSED:
            raise NVMLError_NotSupported
        return value

    return query


def nvmlInit():  # noqa: N802
    if "driver" in REFUSED:
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown():  # noqa: N802
    pass


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    if index != 0:
        raise NVMLError("Invalid Argument")
    return "handle"


def nvmlDeviceGetComputeRunningProcesses(_handle):  # noqa: N802
    if "processes" in REFUSED:
        raise NVMLError_NotSupported
    used = None if "memory" in REFUSED else 5_000
    return [
        SimpleNamespace(pid=os.getppid(), usedGpuMemory=used),
        SimpleNamespace(pid=1, usedGpuMemory=used),
    ]


for _name, _value in {
    "nvmlDeviceGetCount": 1,
    "nvmlDeviceGetName": b"NVIDIA L40S",
    "nvmlDeviceGetUUID": "GPU-1234",
    "nvmlSystemGetDriverVersion": "580.1",
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=48_305_799_168, used=700_000_000),
    "nvmlDeviceGetEnforcedPowerLimit": 350_000,
    "nvmlDeviceGetClockInfo": 2520,
    "nvmlDeviceGetMaxClockInfo": 2550,
    "nvmlDeviceGetTemperature": 41,
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=77, memory=10),
    "nvmlDeviceGetPowerUsage": 123_456,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
}.items():
    globals()[_name] = _answer(_name, _value)
