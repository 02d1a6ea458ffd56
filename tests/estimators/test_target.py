import dataclasses

import pytest

from estimators.target import Target
from profiler.catalog import find_gpu, gpus
from profiler.errors import NotPossibleError


def test_a_gpu_is_its_capability_and_multiprocessors():
    assert Target.of(find_gpu("l40s")) == Target(capability=(8, 9), sm_count=142)
    assert Target.of(find_gpu("l40s")).name == "sm_89/142"


def test_an_unknown_count_of_multiprocessors_stays_unknown():
    gpu = dataclasses.replace(find_gpu("l40s"), sm_count=None)
    assert Target.of(gpu) == Target(capability=(8, 9), sm_count=None)
    assert Target.of(gpu).name == "sm_89/-"


def test_blackwells_capability_has_two_digits_before_the_point():
    gpu = dataclasses.replace(find_gpu("l40s"), compute_capability="12.0", sm_count=170)
    assert Target.of(gpu).capability == (12, 0)
    assert Target.of(gpu).name == "sm_120/170"


@pytest.mark.parametrize("changes", [{"vendor": "AMD"}, {"compute_capability": None}])
def test_only_cuda_gpus_have_an_allocator_that_is_known(changes):
    gpu = dataclasses.replace(find_gpu("l40s"), **changes)
    with pytest.raises(NotPossibleError, match=r"^NVIDIA L40S is not a CUDA GPU"):
        Target.of(gpu)


@pytest.mark.parametrize(("capability", "is_refused"), [("6.1", True), ("7.0", False)])
def test_gpus_older_than_what_torch_is_built_for_are_refused(capability, is_refused):
    gpu = dataclasses.replace(find_gpu("l40s"), compute_capability=capability)
    if not is_refused:
        assert Target.of(gpu).capability == (7, 0)
        return
    with pytest.raises(NotPossibleError, match=r"has compute capability 6\.1; torch is built for 7\.0 "):
        Target.of(gpu)


def test_every_gpu_of_the_catalogue_has_a_target_or_a_reason():
    refused = set()
    for gpu in gpus().values():
        try:
            target = Target.of(gpu)
        except NotPossibleError:
            refused.add(gpu.id)
        else:
            assert (7, 0) <= target.capability < (20, 0)
    assert "mi300x" in refused
    assert "p100-pcie-16gb" in refused
    assert len(refused) < len(gpus()) / 4
