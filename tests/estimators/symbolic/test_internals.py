"""Formulae of what CUDA's kernels allocate inside, against numbers worked out by hand."""

import pytest
import torch

from estimators.symbolic.internals import buffers, cublas_workspace_bytes, on_device
from estimators.target import Target
from tests.estimators.traces import A100, H100, L40S, T4

aten = torch.ops.aten
BLACKWELL = Target(capability=(12, 0), sm_count=170)
UNKNOWN = Target(capability=(8, 0), sm_count=None)


def tensor(*shape, dtype=torch.bfloat16):
    return torch.empty(shape, dtype=dtype, device="meta")


def inside(func, *args, target=A100, **settings):
    return list(buffers(target, func, args, settings))


@pytest.mark.parametrize(
    ("target", "size"),
    [(T4, 8_519_680), (A100, 8_519_680), (L40S, 8_519_680), (H100, 2**25), (BLACKWELL, 2**25)],
)
def test_cublas_has_more_workspace_from_hopper_on(target, size):
    assert cublas_workspace_bytes(target) == size


def test_most_operators_have_no_buffers():
    assert inside(aten.mm.default, tensor(8, 8), tensor(8, 8)) == []


def test_softmax_backward_makes_the_product_of_gradient_and_output():
    grad = tensor(2, 4, 16, 16, dtype=torch.float32)
    assert inside(aten._softmax_backward_data.default, grad, grad, -1, torch.float32) == [(4 * 2048,)]
    assert inside(aten._log_softmax_backward_data.default, grad, grad, -1, torch.float32) == []


@pytest.mark.parametrize(
    ("count", "rows", "dtype", "expected"),
    [
        (3072, 100, torch.bfloat16, []),
        (3073, 100, torch.bfloat16, [(8 * 3073 * 3,), ((307 + 100) * 64 * 4,)]),
        (4000, 5000, torch.bfloat16, [(8 * 4000 * 3,), ((400 + 4000) * 64 * 4,)]),
        (4000, 5000, torch.float64, [(8 * 4000 * 3,), ((400 + 4000) * 64 * 8,)]),
    ],
)
def test_embedding_backward_sorts_many_indices(count, rows, dtype, expected):
    grad, indices = tensor(count, 64, dtype=dtype), tensor(count, dtype=torch.int64)
    assert inside(aten.embedding_dense_backward.default, grad, indices, rows, -1, False) == expected


def test_foreach_norms_have_a_part_for_each_chunk_of_the_largest():
    tensors = [tensor(10), tensor(65_536), tensor(65_537)]
    assert inside(aten._foreach_norm.Scalar, tensors, 2) == [(4 * 3 * 2,)]
    assert inside(aten._foreach_norm.Scalar, tensors[:2], 2) == [(4 * 2 * 1,)]


def heads(count, length, width, dtype=torch.bfloat16, batch=1):
    return tensor(batch, count, length, width, dtype=dtype)


def flash(query, key, *rest, target=A100, **settings):
    return inside(
        aten._scaled_dot_product_flash_attention.default, query, key, key, *rest, target=target, **settings
    )


def test_flash_splits_the_keys_of_few_queries():
    # One block of queries for 216 slots; 4096 keys are 32 blocks of 128: each split is better than one fewer,
    # up to 32, and 0.85 of the best is first reached at 32 (the splits of equal rounds are passed over).
    query, key = heads(1, 64, 128), heads(1, 4096, 128)
    assert flash(query, key) == [(4 * 32 * 64, 4 * 32 * 64 * 128)]
    assert flash(query, key, 0.1) == []
    assert flash(query, key, target=UNKNOWN) == []
    assert flash(heads(32, 4096, 128), heads(32, 4096, 128)) == []


def test_flash_rounds_the_width_of_what_it_accumulates():
    query, key = heads(1, 64, 40), heads(1, 1024, 40)  # four blocks of 256 keys
    assert flash(query, key) == [(4 * 4 * 64, 4 * 4 * 64 * 64)]
    query, key = heads(1, 64, 232), heads(1, 128, 232)  # two blocks of 64 keys, 256 wide from 224 on
    assert flash(query, key) == [(4 * 2 * 64, 4 * 2 * 64 * 256)]


def test_flash_backward_accumulates_queries_in_fp32_and_expands_keys():
    func = aten._scaled_dot_product_flash_attention_backward.default
    query, key = heads(8, 100, 64, batch=2), heads(8, 100, 64, batch=2)
    rounded = 2 * 8 * 128
    assert inside(func, query, query, key, key) == [(4 * rounded, 4 * rounded * 64)]
    grouped = heads(2, 100, 64, batch=2)
    (held,) = inside(func, query, query, grouped, grouped)
    assert held == (4 * rounded, 4 * rounded * 64, *[2 * 2 * 100 * 8 * 64] * 2)


def efficient(query, key=None, value=None, *, target=A100):
    key = query if key is None else key
    value = key if value is None else value
    return inside(
        aten._scaled_dot_product_efficient_attention.default, query, key, value, None, True, target=target
    )


def test_efficient_accumulates_wide_outputs_in_fp32():
    assert efficient(heads(4, 100, 128)) == []
    assert efficient(heads(4, 100, 136)) == [(4 * 4 * 100 * 136,)]
    assert efficient(heads(4, 100, 64), heads(4, 100, 64), heads(4, 100, 256)) == [(4 * 4 * 100 * 256,)]
    assert efficient(heads(4, 100, 136, torch.float32)) == []


def efficient_backward(query, *, target=A100):
    func = aten._scaled_dot_product_efficient_attention_backward.default
    return inside(func, query, query, query, query, None, query, target=target)


@pytest.mark.parametrize(
    ("target", "width", "workspace"),
    [
        # Queries: tiles of rows x columns fp32, and four numbers each. Keys stay in registers where they fit.
        (A100, 64, 2 * 1 * (64 * 64 + 4)),  # 100 rows are two tiles of 64
        (A100, 128, 1 * 1 * (128 * 128 + 4)),
        (H100, 128, 1 * 1 * (128 * 128 + 4)),
        (L40S, 96, 1 * 2 * (128 * 64 + 4)),
        (T4, 128, 1 * 2 * (128 * 64 + 4)),
        # Ada at 128 is 64 x 64, with keys in memory: two blocks of 64 keys in two splits, each 2 x 128 wide.
        (L40S, 128, 2 * 2 * (64 * 64 + 4) + 2 * 64 * (128 + 128)),
        # Beyond 128, 128 x 64: the widths are rounded to 128 rows.
        (A100, 136, 1 * 3 * (128 * 64 + 4) + 2 * 64 * (256 + 256)),
    ],
)
def test_efficient_backward_has_the_workspace_of_its_tiles(target, width, workspace):
    (held,) = efficient_backward(heads(4, 100, width, torch.float16), target=target)
    assert held == (4 * 4 * 100, 4 * 4 * workspace)


def test_efficient_backward_splits_the_keys_of_many_heads_once():
    # 200 over 400 heads is none, and one split it is at least.
    (held,) = efficient_backward(heads(400, 512, 136, torch.float16))
    floats = 4 * 3 * (128 * 64 + 4) + 1 * 64 * (256 + 256)
    assert held == (4 * 400 * 512, 4 * 400 * floats)


def test_efficient_backward_in_fp32_makes_the_product_of_gradient_and_output():
    product, held = efficient_backward(heads(4, 64, 64, torch.float32))
    assert product == (4 * 64 * 4 * 64,)
    # 64 x 64, keys never accumulated in fp32 beside what they are already.
    assert held == (4 * 4 * 64, 4 * 4 * (64 * 64 + 4))


def test_cudnn_backward_has_queries_and_row_sums_in_fp32():
    func = aten._scaled_dot_product_cudnn_attention_backward.default
    query = heads(4, 100, 64, batch=2)
    assert inside(func, query, query, target=H100) == [(4 * 2 * 4 * 128 * 65,)]


@pytest.mark.parametrize(
    ("dropout", "on_the_device"), [(0.0, ("seed", "offset", "output", "sums")), (0.1, ("output", "sums"))]
)
def test_with_dropout_the_efficient_kernel_has_its_random_state_on_the_host(dropout, on_the_device):
    outputs = ("output", "sums", "seed", "offset")
    func = aten._scaled_dot_product_efficient_attention.default
    assert on_device(func, (0, 0, 0, None, True, dropout), outputs) == on_the_device
    assert on_device(aten.mm.default, (0, 0, 0, 0, 0, dropout), outputs) == outputs
