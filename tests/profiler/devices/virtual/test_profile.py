import pytest

from profiler.catalog import find_gpu, gpus
from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.virtual.profile import ENVIRONMENT_VARIABLE, gpu_profile
from profiler.errors import NotPossibleError

BUILT = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
NVIDIA = [
    gpu for gpu in gpus().values() if gpu.vendor == "NVIDIA" and float(gpu.compute_capability or 0) >= 7.5
]


@pytest.mark.parametrize("gpu", NVIDIA, ids=lambda gpu: gpu.id)
def test_every_gpu_that_torch_has_code_for(gpu):
    if gpu.sm_count is None:
        with pytest.raises(NotPossibleError, match="no source gives the number of multiprocessors"):
            gpu_profile(gpu, BUILT)
        return
    profile = gpu_profile(gpu, BUILT)
    assert f"{profile.major}.{profile.minor}" == gpu.compute_capability
    assert profile.binary_version <= profile.major * 10 + profile.minor
    assert profile.binary_version // 10 == profile.major
    assert profile.shared_per_block_optin <= profile.shared_per_multiprocessor
    low, high = gpu_memory(gpu).usable_bytes_range
    assert profile.memory_bytes == low <= high
    assert profile.context_bytes < 2**30


def test_memory_and_context_may_be_given():
    profile = gpu_profile(find_gpu("t4"), BUILT, memory_bytes=7, context_bytes=0)
    assert (profile.memory_bytes, profile.context_bytes) == (7, 0)


def test_the_variable_has_a_line_for_each_field():
    lines = gpu_profile(find_gpu("l40s"), BUILT).variables[ENVIRONMENT_VARIABLE].splitlines()
    assert "name=NVIDIA L40S" in lines
    assert "binary_version=86" in lines  # the newest code for 8.9
    assert f"memory_bytes={45456 * 2**20}" in lines
    assert "shared_per_block_optin=101376" in lines


@pytest.mark.parametrize(
    ("gpu", "built", "why"),
    [
        ("mi300x", BUILT, "is a GPU of AMD: only NVIDIA's can be virtual"),
        ("v100-sxm2-16gb", BUILT, "has compute capability 7.0, for which the installed torch has no code"),
        ("h100", ("sm_75", "sm_80"), "compiled for sm_75, sm_80"),
        ("v100-sxm2-16gb", ("sm_70",), "the limits of compute capability 7.0 .* are not known"),
    ],
)
def test_a_gpu_that_cannot_be_virtual(gpu, built, why):
    with pytest.raises(NotPossibleError, match=why):
        gpu_profile(find_gpu(gpu), built)
