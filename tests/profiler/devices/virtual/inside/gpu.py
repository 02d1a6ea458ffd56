"""What torch sees of a virtual L40S; run by test_on_virtual_gpu.py in a process that has one."""

import ctypes
import resource

import pytest
import torch

from profiler.catalog import find_gpu
from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.nvml import gpu_state, open_nvml, take_sample
from profiler.devices.procfs import status_bytes
from profiler.devices.virtual import VirtualDevice
from profiler.devices.virtual.core import unwritten_functions
from profiler.measurement import Outcome, Reason
from tests.profiler.devices.contract import DeviceContract

MIB, GIB = 2**20, 2**30
GPU = find_gpu("l40s")
TOTAL = gpu_memory(GPU).usable_bytes_range[0]
CONTEXT = gpu_memory(GPU).context_bytes


@pytest.fixture
def device():
    return VirtualDevice("l40s")


class TestVirtualDevice(DeviceContract):
    """A virtual GPU keeps the contract."""

    def test_what_only_a_real_card_has_is_absent(self, figures):
        absent = {
            "peak_process_bytes",
            "context_bytes",
            "power_watts_mean",
            "sm_clock_mhz_median",
            "throttled",
        }
        assert not absent & set(figures)
        assert (self.step_seconds, len(self.host_seconds)) == ([], 4)
        assert figures["peak_reserved_bytes"] >= figures["peak_allocated_bytes"]
        assert figures["alloc_retries"] == 0


def test_the_card_is_that_of_the_catalogue():
    properties = torch.cuda.get_device_properties(0)
    assert properties.name == GPU.name
    assert f"{properties.major}.{properties.minor}" == GPU.compute_capability
    assert properties.multi_processor_count == GPU.sm_count
    assert properties.total_memory == TOTAL
    assert properties.L2_cache_size == GPU.l2_mib * MIB
    assert properties.shared_memory_per_block_optin == 99 * 1024
    assert torch.cuda.device_count() == 1
    assert torch.cuda.is_bf16_supported(including_emulation=False)


def test_memory_is_accounted_for_and_costs_the_host_nothing():
    before = status_bytes("VmRSS")
    free, total = torch.cuda.mem_get_info()
    assert (free, total) == (TOTAL - CONTEXT, TOTAL)
    empty = torch.empty(30 * GIB, dtype=torch.uint8, device="cuda")
    zeros = torch.zeros(10 * GIB, dtype=torch.uint8, device="cuda")
    assert torch.cuda.mem_get_info()[0] == free - 40 * GIB
    assert empty.numel() + zeros.numel() == torch.cuda.memory_allocated()
    assert status_bytes("VmRSS") - before < 100 * MIB
    del empty, zeros
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info()[0] == free


def test_the_driver_gives_whole_pages():
    free, _ = torch.cuda.mem_get_info()
    runtime, pointer = ctypes.CDLL(None), ctypes.c_void_p()
    assert runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(1)) == 0
    assert torch.cuda.mem_get_info()[0] == free - 2 * MIB
    assert runtime.cudaFree(pointer) == 0
    assert runtime.cudaFree(pointer) == 1  # cudaErrorInvalidValue: it is gone
    assert (runtime.cudaGetLastError(), runtime.cudaGetLastError()) == (1, 0)


@pytest.mark.parametrize("setting", ["expandable_segments:False", "expandable_segments:True"])
def test_more_than_there_is_is_torchs_own_error(setting, leave_free):
    torch._C._accelerator_setAllocatorSettings(setting)
    held = torch.empty(40 * MIB, dtype=torch.uint8, device="cuda")
    leave_free(100)
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 200\.00 MiB.*44\.39 GiB of which"):
        torch.empty(200 * MIB, dtype=torch.uint8, device="cuda")
    # The allocator is as it was, and gives what there is.
    again = torch.empty(80 * MIB, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() == held.numel() + again.numel()


def test_under_a_tight_cap_the_allocator_retries(leave_free):
    leave_free(100)
    small = torch.empty(60 * MIB, dtype=torch.uint8, device="cuda")
    del small
    large = torch.empty(80 * MIB, dtype=torch.uint8, device="cuda")  # only after the 60 MiB were given back
    assert torch.cuda.memory_stats()["num_alloc_retries"] == 1
    assert torch.cuda.memory_reserved() == large.numel()


def test_expandable_segments_grow_and_shrink():
    torch._C._accelerator_setAllocatorSettings("expandable_segments:True")
    free, _ = torch.cuda.mem_get_info()
    tensors = [torch.empty(30 * MIB, dtype=torch.uint8, device="cuda") for _ in range(3)]
    segments = [segment for segment in torch.cuda.memory_snapshot() if segment["is_expandable"]]
    assert [segment["total_size"] for segment in segments] == [100 * MIB]  # in pages of 20 MiB
    assert torch.cuda.mem_get_info()[0] == free - 100 * MIB
    tensors[0].zero_()
    tensors[2].copy_(tensors[1])
    del tensors[1:]
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info()[0] == free - 40 * MIB


@pytest.mark.parametrize("count", [1, 1000, 3 * MIB + 5])
def test_device_memory_reads_as_zeros(count):
    ones = torch.ones(count)
    there = ones.cuda()
    assert ones.sum().item() == count
    back = torch.ones(count)
    assert back.copy_(there.clone()).sum().item() == 0
    assert there.sum().item() == 0


def test_a_large_copy_back_ends_where_it_should():
    back = torch.ones(8 * MIB, dtype=torch.uint8)
    back[3 : 7 * MIB + 3].copy_(torch.empty(7 * MIB, dtype=torch.uint8, device="cuda"))
    assert back.sum().item() == MIB
    assert (back[2].item(), back[3].item(), back[7 * MIB + 2].item(), back[7 * MIB + 3].item()) == (
        1,
        0,
        0,
        1,
    )


def test_pinned_memory_is_the_hosts():
    free, _ = torch.cuda.mem_get_info()
    pinned = torch.ones(4 * MIB, dtype=torch.uint8).pin_memory()
    assert pinned.is_pinned()
    assert not torch.ones(4).is_pinned()
    assert pinned.sum().item() == 4 * MIB
    assert torch.cuda.mem_get_info()[0] == free


def test_streams_and_events():
    stream = torch.cuda.Stream(priority=-1)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.stream(stream):
        start.record()
        torch.cuda.current_stream().synchronize()
        end.record()
    assert stream.priority == -1
    assert end.query()
    assert start.elapsed_time(end) >= 0
    runtime, milliseconds = ctypes.CDLL(None), ctypes.c_float()
    handle = ctypes.c_void_p(start.cuda_event)
    assert (
        runtime.cudaEventElapsedTime(ctypes.byref(milliseconds), handle, None) == 400
    )  # InvalidResourceHandle
    assert runtime.cudaGetLastError() == 400


def test_what_nobody_wrote_is_refused_counted_and_named(device):
    name = "cudnnCreateDropoutDescriptor"  # of recurrent layers
    before = unwritten_functions().get(name, 0)
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            torch.nn.LSTM(4, 4).cuda()
    assert unwritten_functions()[name] == before + 2
    failure = device.failure(caught.value)
    assert (failure.outcome, failure.reason) == (Outcome.FAILED, Reason.NOT_POSSIBLE)
    assert "a virtual GPU does not have" in failure.message
    assert name in failure.message
    meter = device.meter()
    assert any(f"{name} ({before + 2})" in note for note in meter.notes())
    meter.figures()


def test_address_space_that_the_host_refuses_is_no_memory_of_the_card(device):
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status_bytes("VmSize") + GIB, hard))
    try:
        with pytest.raises(RuntimeError) as caught:
            torch.empty(30 * GIB, dtype=torch.uint8, device="cuda")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    failure = device.failure(caught.value)
    assert (failure.outcome, failure.reason) == (Outcome.FAILED, Reason.NOT_POSSIBLE)
    assert failure.message.startswith("the host refuses the address space that a virtual GPU reserves")
    assert torch.cuda.memory_allocated() == 0


def test_nvml_knows_the_card_and_cannot_measure_it():
    state = gpu_state(0)
    assert (state.name, state.driver_version, state.memory_total_bytes) == (GPU.name, "virtual", TOTAL)
    assert (state.uuid, state.power_limit_watts, state.sm_clock_mhz, state.processes) == (
        None,
        None,
        None,
        (),
    )
    held = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
    with open_nvml() as nvml:
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        sample = take_sample(nvml, handle, 1)
        assert nvml.nvmlDeviceGetCudaComputeCapability(handle) == (8, 9)
    assert sample.device_used_bytes == held.numel()
    assert (sample.power_watts, sample.utilization_percent, sample.process_count) == (None, None, None)


def test_driver_functions_are_found_in_their_newest_version():
    driver = ctypes.CDLL("libcuda.so.1")
    found, status = ctypes.c_void_p(), ctypes.c_int()
    for name, code in (("cuMemGetInfo", 0), ("cuMemCreate", 0), ("cuNoSuchFunction", 500)):
        arguments = (name.encode(), ctypes.byref(found), 13000, ctypes.c_uint64(0), ctypes.byref(status))
        assert driver.cuGetProcAddress_v2(*arguments) == code
        assert bool(found.value) == (code == 0)
    driver.cuGetProcAddress_v2(
        b"cuMemGetInfo", ctypes.byref(found), 13000, ctypes.c_uint64(0), ctypes.byref(status)
    )
    assert found.value == ctypes.cast(driver.cuMemGetInfo_v2, ctypes.c_void_p).value
