"""Bytes of CPU tensors, against what is known to be allocated."""

import gc

import pytest
import torch

from profiler.devices.tensor_bytes import TensorBytes
from profiler.measurement import Phase


@pytest.fixture
def tensors():
    return TensorBytes()


def allocate(count):
    return torch.empty(count, dtype=torch.uint8)


def test_the_highest_total_and_the_last(tensors):
    with tensors.recording() as recorded:
        first = allocate(1000)
        second = allocate(5000)
        del second
        third = allocate(300)
    assert recorded.peak_bytes(base_bytes=0) == 6000
    assert recorded.peak_bytes(base_bytes=70) == 6070
    assert recorded.final_bytes(base_bytes=0) == first.nbytes + third.nbytes == 1300
    assert recorded.final_bytes(base_bytes=70) == 1370


def test_nothing_allocated(tensors):
    with tensors.recording() as recorded, tensors.phase(Phase.FORWARD):
        pass
    assert recorded.peak_bytes(base_bytes=9) == recorded.final_bytes(base_bytes=9) == 9
    assert recorded.phase_peaks_bytes(base_bytes=9) == {Phase.FORWARD: 9}


def test_phases_hold_what_was_alive_when_they_began(tensors):
    kept = []
    with tensors.recording() as recorded:
        with tensors.phase(Phase.FORWARD):
            kept.append(allocate(1000))
            del kept[:]
            kept.append(allocate(400))
        with tensors.phase(Phase.BACKWARD):
            pass
        with tensors.phase(Phase.OPTIMIZER):
            allocate(50)
        between = allocate(9999)
        del between
    assert recorded.phase_peaks_bytes(base_bytes=1) == {
        Phase.FORWARD: 1001,
        Phase.BACKWARD: 401,
        Phase.OPTIMIZER: 451,
    }
    assert recorded.peak_bytes(base_bytes=0) == 10_399


def test_a_phase_that_comes_again_keeps_its_highest(tensors):
    with tensors.recording() as recorded:
        for count in (10, 3000, 20):
            with tensors.phase(Phase.FORWARD):
                allocate(count)
    assert recorded.phase_peaks_bytes(base_bytes=0) == {Phase.FORWARD: 3000}


def test_memory_inside_operators_is_seen(tensors):
    """`logsumexp` makes intermediates that no dispatch mode is told of."""
    values = torch.randn(1000, 100)
    with tensors.recording() as recorded:
        result = torch.logsumexp(values, dim=1)
    assert recorded.final_bytes(base_bytes=0) == result.nbytes
    assert recorded.peak_bytes(base_bytes=0) > values.nbytes


def test_backward_is_seen(tensors):
    weight = torch.randn(100, 100, requires_grad=True)
    with tensors.recording() as recorded:
        (weight @ weight).sum().backward()
    assert recorded.final_bytes(base_bytes=0) == weight.grad.nbytes
    assert recorded.peak_bytes(base_bytes=0) >= 3 * weight.nbytes


def test_a_recording_can_follow_another(tensors):
    totals = []
    for _ in range(2):
        with tensors.recording() as recorded:
            kept = allocate(64)
        totals.append(recorded.final_bytes(base_bytes=0))
        del kept
    assert totals == [64, 64]


def test_live_bytes_count_a_storage_once(tensors):
    gc.collect()
    before = tensors.live_bytes()
    tensor = torch.zeros(1000)
    views = [tensor[10:], tensor.view(10, 100), tensor.detach()]
    parameter = torch.nn.Parameter(torch.zeros(50))
    assert tensors.live_bytes() - before == 1000 * 4 + 50 * 4
    del tensor
    assert tensors.live_bytes() - before == 1000 * 4 + 50 * 4
    del views
    assert tensors.live_bytes() - before == 50 * 4
    del parameter
    assert tensors.live_bytes() == before


def test_live_bytes_leave_out_what_has_no_memory(tensors):
    before = tensors.live_bytes()
    strange = [torch.empty(100, device="meta"), torch.eye(3).to_sparse()]
    assert tensors.live_bytes() - before <= 200
    del strange
