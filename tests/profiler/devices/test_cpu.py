import gc

import pytest
import torch

from profiler.devices import CpuDevice
from profiler.devices.tensor_bytes import TensorBytes
from profiler.measurement import Outcome, Reason
from tests.profiler.devices.contract import DeviceContract


@pytest.fixture
def device():
    return CpuDevice()


class TestCpuDevice(DeviceContract):
    """The CPU keeps the contract."""

    def test_there_is_no_reserved_memory_and_no_context(self, figures):
        assert not [name for name in figures if "reserved" in name or "context" in name]

    def test_the_process_holds_what_its_tensors_hold(self, figures):
        # The test's own process has memory of its own to reuse, so only the order of things is sure.
        assert figures["peak_process_bytes"] >= figures["warmup_peak_process_bytes"]

    @pytest.fixture
    def bytes_before(self):
        """What the tensors of other tests and of libraries hold."""
        gc.collect()
        return TensorBytes().live_bytes()

    def test_allocated_bytes_are_those_of_the_matrices(self, bytes_before, figures):
        matrix, loss = 256 * 256 * 4, 4
        assert figures["load_peak_allocated_bytes"] == matrix
        assert figures["resident_bytes"] == bytes_before + matrix + loss
        # The weight, the product, and the losses of this step and the last, with what a sum takes on its way.
        forward = figures["forward_peak_allocated_bytes"] - bytes_before - 2 * matrix
        assert 2 * loss <= forward < 1024


def test_a_cpu_trial_sees_no_gpu(device):
    variables = device.child_environment(None)
    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    assert variables["MALLOC_ARENA_MAX"] == "1"


def test_an_allocation_that_the_host_cannot_give(device):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    failure = device.failure(caught.value)
    assert (failure.outcome, failure.reason) == (Outcome.OOM, Reason.HOST_OOM)
    assert failure.figures == {"oom_requested_bytes": 2**50}
    assert "\n" not in failure.message


def test_memory_that_python_cannot_give(device):
    with pytest.raises(MemoryError) as caught:
        bytearray(2**62)
    failure = device.failure(caught.value)
    assert (failure.outcome, failure.reason) == (Outcome.OOM, Reason.HOST_OOM)
    assert failure.figures == {}
    assert failure.message == "the host gave no more memory: MemoryError"
