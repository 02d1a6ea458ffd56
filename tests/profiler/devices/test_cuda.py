"""The GPU as a device: what can be checked without one, and the contract where there is one."""

from dataclasses import fields

import pytest
import torch

from profiler.devices import CpuDevice, CudaDevice, find_device
from profiler.devices.cuda import EventTimer, process_figures
from profiler.devices.nvml import GpuState, Sample, gpu_count, visible_gpu
from profiler.devices.virtual import VirtualDevice
from profiler.errors import NotPossibleError, UsageError
from profiler.measurement import Outcome, Reason
from tests.profiler.devices.contract import DeviceContract


def has_gpu():
    try:
        return gpu_count() > 0 and torch.cuda.is_available()
    except NotPossibleError:
        return False


@pytest.fixture
def device():
    return CudaDevice(0)


@pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device")
class TestCudaDevice(DeviceContract):
    """A GPU keeps the contract."""

    def test_segments_hold_the_tensors(self, figures):
        assert figures["peak_reserved_bytes"] >= figures["peak_allocated_bytes"]
        assert figures["alloc_retries"] == 0
        if "peak_process_bytes" in figures:
            assert figures["peak_process_bytes"] >= figures["peak_reserved_bytes"]

    def test_memory_that_the_card_does_not_have(self, device):
        with pytest.raises(torch.OutOfMemoryError) as caught:
            torch.empty(2**45, dtype=torch.uint8, device="cuda")
        failure = device.failure(caught.value)
        assert failure.reason is Reason.CUDA_OOM
        assert failure.figures["oom_requested_bytes"] == 2**45


@pytest.fixture
def held(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 111)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 222)
    return {"oom_allocated_bytes": 111, "oom_reserved_bytes": 222}


@pytest.mark.parametrize(
    ("asked", "requested"),
    [
        ("512 bytes", 512),
        ("2.50 KiB", 2560),
        ("20.00 MiB", 20 * 2**20),
        ("2.00 GiB", 2**31),
        ("1.50 TiB", 3 * 2**39),
    ],
)
def test_out_of_memory_says_what_was_asked_for(asked, requested, device, held):
    message = f"CUDA out of memory. Tried to allocate {asked}. GPU 0 has a total capacity of 23.57 GiB.\nmore"
    failure = device.failure(torch.OutOfMemoryError(message))
    assert (failure.outcome, failure.reason) == (Outcome.OOM, Reason.CUDA_OOM)
    assert failure.figures == {"oom_requested_bytes": requested, **held}
    assert failure.message == message.splitlines()[0]


def test_out_of_memory_of_the_driver_has_no_request(device, held):
    failure = device.failure(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be..."))
    assert (failure.outcome, failure.reason) == (Outcome.OOM, Reason.CUDA_OOM)
    assert failure.message == "CUDA error: out of memory"
    assert failure.figures == held


@pytest.mark.parametrize("status", ["CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED"])
def test_cublas_without_workspace_is_memory_running_out(status, device, held):
    failure = device.failure(RuntimeError(f"CUDA error: {status} when calling `cublasCreate(handle)`"))
    assert (failure.outcome, failure.reason) == (Outcome.OOM, Reason.CUBLAS_ALLOC)
    assert failure.figures == held


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: unspecified launch failure",
        "NVML: GPU is lost",
    ],
)
def test_a_lost_card_is_tried_again(message, device):
    failure = device.failure(RuntimeError(message))
    assert (failure.outcome, failure.reason) == (Outcome.FAILED, Reason.DEVICE_LOST)
    assert failure.reason.is_transient


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("expected a SPECIFIC shape"),
        RuntimeError(""),
    ],
)
def test_other_errors_are_no_matter_of_the_card(error, device):
    assert device.failure(error) is None


def gpu(**known):
    unknown = dict.fromkeys(field.name for field in fields(GpuState))
    return GpuState(**{**unknown, "index": 0, "name": "a GPU", "processes": (), **known})


def test_a_process_from_before_makes_the_device_no_measure_of_ours():
    looked = samples(None, None, device_used=[100, 810])
    assert process_figures(looked, 600, gpu(memory_used_bytes=10, processes=(7,))) == {}


@pytest.mark.parametrize(
    ("variable", "position", "index"),
    [(None, 1, 1), ("1,0", 0, 1), ("1, 0", 1, 0), ("GPU-b", 0, 1), ("GPU-aaa,GPU-bbb", 1, 1)],
)
def test_visible_devices_are_those_of_the_user(variable, position, index, monkeypatch):
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    cards = [gpu(index=0, uuid="GPU-aaa"), gpu(index=1, uuid="GPU-bbb")]
    monkeypatch.setattr("profiler.devices.nvml.gpu_count", lambda: len(cards))
    monkeypatch.setattr("profiler.devices.nvml.gpu_state", lambda index: cards[index])
    assert visible_gpu(position) == index


@pytest.mark.parametrize(("variable", "position"), [("", 0), ("-1", 0), ("0", 1), ("GPU-ccc", 0)])
def test_what_is_not_visible_is_not_used(variable, position, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr("profiler.devices.nvml.gpu_count", lambda: 1)
    monkeypatch.setattr("profiler.devices.nvml.gpu_state", lambda index: gpu(uuid="GPU-aaa"))
    with pytest.raises(NotPossibleError, match="CUDA_VISIBLE_DEVICES"):
        visible_gpu(position)


def samples(*used, device_used=None, others=0):
    device_used = device_used or [None] * len(used)
    return [
        Sample(
            monotonic_seconds=float(second),
            process_used_bytes=process,
            device_used_bytes=total,
            process_count=None if others is None else 1 + others,
        )
        for second, (process, total) in enumerate(zip(used, device_used, strict=True))
    ]


@pytest.mark.parametrize(
    ("looked", "reserved", "idle", "figures"),
    [
        # The context is what the last sample holds beyond the segments at the end.
        (
            samples(50, 900, 700), 600, 10,
            {"peak_process_bytes": 900, "context_bytes": 100},
        ),
        (samples(50, 900, None), 600, 10, {"peak_process_bytes": 900, "context_bytes": 300}),
        # A sample may be older than the last segment: then there is no context to tell.
        (samples(50, 500), 600, 10, {"peak_process_bytes": 500}),
        (samples(50, 500), 500, 10, {"peak_process_bytes": 500}),
        # No figures per process: what the device holds above idle.
        (
            samples(None, None, device_used=[100, 810]), 600, 10,
            {"peak_process_bytes": 800, "context_bytes": 200},
        ),
        (samples(None, None, device_used=[100, 810], others=None), 800, 10, {"peak_process_bytes": 800}),
        (samples(None, None, device_used=[100, 810], others=1), 600, 10, {}),
        (samples(None, None, device_used=[100, 810]), 600, None, {}),
        (samples(None, None), 600, 10, {}),
        ([], 600, 10, {}),
    ],
)  # fmt: skip
def test_process_and_context(looked, reserved, idle, figures):
    assert process_figures(looked, reserved, gpu(memory_used_bytes=idle)) == figures


class FakeCuda:
    """A device whose events happen one millisecond after another."""

    def __init__(self):
        self.recorded = 0
        self.waits = 0

    def synchronize(self):
        self.waits += 1

    def Event(self, *, enable_timing):  # noqa: N802  # torch's name
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, cuda):
        self._cuda = cuda

    def record(self):
        self.at = self._cuda.recorded = self._cuda.recorded + 1

    def elapsed_time(self, end):
        return end.at - self.at


def test_steps_are_timed_between_their_events_without_waiting():
    cuda = FakeCuda()
    timer = EventTimer(cuda)
    for work in (1, 2, 3):
        timer.start_step()
        cuda.recorded += work
        timer.end_step()
    assert cuda.waits == 0
    assert timer.step_seconds() == [0.002, 0.003, 0.004]
    assert cuda.waits == 1
    assert len(timer.host_seconds()) == 3


@pytest.mark.parametrize(
    ("name", "kind", "full"),
    [
        ("cpu", CpuDevice, "cpu"),
        ("cuda", CudaDevice, "cuda:0"),
        ("cuda:3", CudaDevice, "cuda:3"),
        ("virtual:4090", VirtualDevice, "virtual:rtx-4090"),
    ],
)
def test_devices_by_name(name, kind, full):
    device = find_device(name)
    assert type(device) is kind
    assert device.name == full


def test_without_a_name_the_first_visible_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("profiler.devices.nvml.gpu_state", lambda index: gpu(index=index))
    assert find_device().name == "cuda:0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_device().name == "cpu"


def test_without_a_driver_the_cpu(monkeypatch):
    def refuse(index):
        raise NotPossibleError("no NVIDIA driver answers")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("profiler.devices.nvml.gpu_state", refuse)
    assert find_device().name == "cpu"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gpu", r"unknown device 'gpu'; known: cpu, cuda, cuda:N, virtual:GPU; did you mean cpu\?"),
        ("cuda:x", r"unknown device 'cuda:x'; known: cpu, cuda, cuda:N, virtual:GPU; did you mean cuda\?"),
        ("cuda:-1", "unknown device 'cuda:-1'"),
        ("tpu", "unknown device 'tpu'"),
        ("", "unknown device ''"),
        ("virtual", r"unknown device 'virtual'; .*; did you mean virtual:GPU\?"),
        ("virtual:rtx-4091", "unknown GPU 'rtx-4091'; did you mean rtx-4090"),
    ],
)
def test_unknown_devices(name, says):
    with pytest.raises(UsageError, match=f"^{says}"):
        find_device(name)


def test_a_cpu_build_of_torch_is_named(device, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(NotPossibleError, match="is a CPU build: install a CUDA build of torch"):
        device.torch_device()


def test_a_card_that_torch_cannot_use_is_one_sentence(device, monkeypatch):
    def refuse():
        raise RuntimeError("No CUDA GPUs are available\nand much more")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", refuse)
    with pytest.raises(NotPossibleError, match=r"^torch cannot use cuda:0: No CUDA GPUs are available$"):
        device.torch_device()


def test_host_memory_that_runs_out_is_known_as_such(device):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert device.failure(caught.value) == CpuDevice().failure(caught.value)
