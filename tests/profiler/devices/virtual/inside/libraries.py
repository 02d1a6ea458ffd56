"""Libraries of CUDA on a virtual GPU, by what torch calls of them; run by test_on_virtual_gpu.py."""

import ctypes
import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from profiler.devices.virtual.core import unwritten_functions

MIB = 2**20
LINALG = torch.linalg
SQUARE, TALL, BATCH = (6, 6), (64, 16), (3, 40, 40)


@pytest.fixture(autouse=True)
def all_is_written():
    """Nothing is called that is not there."""
    before = unwritten_functions()
    yield
    assert unwritten_functions() == before


def on_gpu(*shape, dtype=torch.float32):
    return torch.zeros(*shape, dtype=dtype, device="cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("shape", [SQUARE, BATCH], ids=["one", "batch"])
def test_every_factorisation_ends_and_finds_no_error(shape, dtype):
    matrix = on_gpu(*shape, dtype=dtype)
    for factor in (
        LINALG.svd, LINALG.svdvals, LINALG.qr, LINALG.inv, LINALG.cholesky, LINALG.eigh, LINALG.lu_factor,
        LINALG.ldl_factor, LINALG.det, LINALG.pinv, torch.geqrf,
    ):  # fmt: skip
        factor(matrix)
    LINALG.solve(matrix, matrix)
    torch.cholesky_solve(matrix, matrix)
    assert LINALG.lstsq(matrix, matrix).solution.shape == shape


@pytest.mark.parametrize("driver", [None, "gesvd", "gesvdj", "gesvda"])
@pytest.mark.parametrize("shape", [TALL, (3, 64, 16), (2, 300, 200)], ids=str)
def test_singular_values_by_every_driver(shape, driver):
    u, values, vh = LINALG.svd(on_gpu(*shape), full_matrices=False, driver=driver)
    batch, width = shape[:-2], shape[-1]
    assert (u.shape, values.shape, vh.shape) == (shape, (*batch, width), (*batch, width, width))
    low_rank = torch.svd_lowrank(on_gpu(*shape), 4)
    assert low_rank[1].shape == (*shape[:-2], 4)


def test_pivots_are_those_of_rows_in_place():
    for shape in (SQUARE, BATCH):
        _, pivots = LINALG.lu_factor(on_gpu(*shape))
        counted = torch.arange(1, shape[-1] + 1, dtype=torch.int32).expand(pivots.shape)
        held = (ctypes.c_int * pivots.numel()).from_address(pivots.data_ptr())
        assert list(held) == counted.flatten().tolist()


@pytest.mark.parametrize("shape", [(64,), (8, 64), (4, 8, 64)], ids=str)
def test_a_transform_takes_one_complex_copy_as_its_work_area(shape):
    values = on_gpu(*shape, 16 * 1024, dtype=torch.complex64)
    torch.fft.fft(values)  # the plan is kept
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = torch.fft.fft(values)
    assert torch.cuda.max_memory_allocated() - before == result.nbytes + values.nbytes
    assert torch.fft.irfft(torch.fft.rfft(values.real)).shape == values.shape


def test_plans_are_given_back():
    """A program may make more plans than there are numbers for at a time."""
    torch.backends.cuda.cufft_plan_cache[0].max_size = 2
    for length in range(8, 72):
        torch.fft.fft2(on_gpu(length, length))
    assert torch.backends.cuda.cufft_plan_cache[0].size == 2
    torch.backends.cuda.cufft_plan_cache[0].max_size = 4096


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("benchmark", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: torch.nn.Conv1d(4, 4, 3, groups=4), (2, 4, 16)),
        (lambda: torch.nn.Conv2d(3, 8, 16, stride=16), (2, 3, 64, 64)),  # patches of a vision transformer
        (lambda: torch.nn.Conv3d(3, 8, 3), (2, 3, 8, 8, 8)),
        (lambda: torch.nn.ConvTranspose2d(3, 8, 3), (2, 3, 16, 16)),
        (lambda: torch.nn.BatchNorm2d(8), (2, 8, 16, 16)),
    ],
    ids=["conv1d", "conv2d", "conv3d", "transposed", "batch-norm"],
)
def test_layers_of_cudnn_allocate_what_they_return(layer, shape, benchmark, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    made, values = layer().to("cuda", dtype), on_gpu(*shape, dtype=dtype).requires_grad_()
    made(values).sum().backward()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = made(values)
    statistics = 0 if made.bias is None or "BatchNorm" not in type(made).__name__ else 3 * 512
    block = math.ceil(result.nbytes / 512) * 512
    assert 0 <= torch.cuda.memory_allocated() - before - block <= statistics
    result.sum().backward()
    assert values.grad.shape == shape


@pytest.mark.parametrize("key_heads", [4, 2])
def test_cudnns_attention_asks_for_an_fp32_gradient_of_the_queries(key_heads):
    batch, heads, length, width = 2, 4, 512, 64
    query, key, value = (
        on_gpu(batch, count, length, width, dtype=torch.bfloat16).requires_grad_()
        for count in (heads, key_heads, key_heads)
    )
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        result = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=key_heads != heads
        )
    assert type(result.grad_fn).__name__ == "ScaledDotProductCudnnAttentionBackward0"
    gradient = torch.ones_like(result)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result.backward(gradient)
    gradients = query.nbytes + key.nbytes + value.nbytes
    workspace = 4 * batch * heads * length * (width + 1)
    assert torch.cuda.max_memory_allocated() - before == gradients + workspace


def test_products_with_sparse_matrices():
    dense, ones = on_gpu(6, 6), torch.ones(6)
    for sparse in (torch.diag(ones).to_sparse().cuda(), torch.diag(ones).to_sparse_csr().cuda()):
        assert (sparse @ dense).shape == (6, 6)
    assert torch.sparse.sampled_addmm(torch.diag(ones).to_sparse_csr().cuda(), dense, dense).shape == (6, 6)


def test_a_graph_is_captured_into_memory_of_its_own():
    layer, values = torch.nn.Linear(1024, 1024).cuda(), on_gpu(1024, 1024)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        first = layer(values)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            second = layer(first)
        torch.cuda.current_stream().wait_stream(side)
    graph.replay()
    pools = {segment["segment_pool_id"] for segment in torch.cuda.memory_snapshot()}
    assert graph.pool() in pools
    assert not torch.cuda.is_current_stream_capturing()
    del first, second
    graph.reset()


def test_waiting_for_what_is_captured_is_an_error():
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        graph.capture_begin()
        assert torch.cuda.is_current_stream_capturing()
        with pytest.raises(RuntimeError, match="operation not permitted when stream is capturing"):
            stream.synchronize()
        with pytest.raises(RuntimeError, match="due to a previous error during capture"):
            graph.capture_end()
    assert on_gpu(4).shape == (4,)


def milliseconds_of(work):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    return start.elapsed_time(end)


def test_the_clock_tells_kernels_apart_by_their_number_only():
    values = on_gpu(64)
    assert milliseconds_of(lambda: None) > 0
    assert milliseconds_of(lambda: values.add_(1)) == milliseconds_of(lambda: on_gpu(4096, 1024))
    twice = milliseconds_of(lambda: (values.add_(1), values.mul_(2)))
    assert twice == pytest.approx(2 * milliseconds_of(lambda: values.add_(1)), rel=0.01)


def test_triton_can_ask_what_it_asks_of_every_card():
    from triton.runtime import driver

    properties = driver.active.utils.get_device_properties(0)
    assert properties["multiprocessor_count"] == 142
    assert properties["max_shared_mem"] == 99 * 1024
    transfers = 2 * properties["mem_clock_rate"] * 1e3
    assert transfers * properties["mem_bus_width"] / 8 == pytest.approx(864e9, rel=1e-3)
    assert properties["sm_clock_rate"] == 2_520_000
