import ctypes
import gc

import pytest
import torch


def forget():
    """Bring torch's allocator to where it is in a new process."""
    gc.collect()
    torch._C._accelerator_setAllocatorSettings("expandable_segments:False")
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()


@pytest.fixture(autouse=True)
def nothing_held():
    """Each test finds the card as a new process does."""
    yield
    forget()


@pytest.fixture
def leave_free():
    """Take all of the card but so many MiB, as another library in the process would; then give it back."""
    runtime, taken = ctypes.CDLL(None), []

    def take(mib):
        free, _ = torch.cuda.mem_get_info()
        pointer = ctypes.c_void_p()
        assert runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(free - mib * 2**20)) == 0
        taken.append(pointer)

    yield take
    for pointer in taken:
        assert runtime.cudaFree(pointer) == 0
