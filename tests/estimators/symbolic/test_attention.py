"""Which attention kernel CUDA would run; the tables are those of torch's sdp_utils.cpp."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from estimators.symbolic.attention import Attention, choose_kernel
from profiler.errors import NotPossibleError
from tests.estimators.traces import A100, H100, L40S, T4, operators

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
TURING, AMPERE, ADA, HOPPER, BLACKWELL, GEFORCE = (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0)


def kernel(
    capability, dtype=BF16, width=64, *, value_width=None, mask=False, grouped=False, grad=True, dropout=0.0
):
    call = Attention(
        dtype=dtype,
        head_dim=width,
        value_head_dim=value_width or width,
        has_mask=mask,
        is_grouped=grouped,
        requires_grad=grad,
        dropout=dropout,
    )
    return choose_kernel(call, capability)


@pytest.mark.parametrize(
    ("capability", "dtype", "mask", "expected"),
    [
        (TURING, FP16, False, "efficient"),
        (TURING, BF16, False, "math"),
        (TURING, FP32, True, "efficient"),
        (AMPERE, BF16, False, "flash"),
        (AMPERE, FP16, False, "flash"),
        (AMPERE, BF16, True, "efficient"),
        (AMPERE, FP32, False, "efficient"),
        (AMPERE, torch.float64, False, "math"),
        (ADA, BF16, False, "flash"),
        (HOPPER, BF16, False, "cudnn"),
        (HOPPER, FP16, True, "cudnn"),
        (HOPPER, FP32, False, "efficient"),
        (BLACKWELL, BF16, True, "cudnn"),
        (GEFORCE, BF16, False, "flash"),
        (GEFORCE, BF16, True, "efficient"),
    ],
)
def test_the_gpu_the_type_and_the_mask_decide(capability, dtype, mask, expected):
    assert kernel(capability, dtype, mask=mask) == expected


@pytest.mark.parametrize(
    ("capability", "width", "settings", "expected"),
    [
        (AMPERE, 256, {}, "flash"),
        (AMPERE, 264, {}, "efficient"),
        (AMPERE, 100, {}, "flash"),  # it pads
        (AMPERE, 100, {"mask": True}, "math"),
        (AMPERE, 104, {"mask": True}, "efficient"),
        (AMPERE, 128, {"value_width": 64}, "efficient"),
        (ADA, 192, {}, "flash"),
        (ADA, 200, {}, "efficient"),
        (ADA, 200, {"grad": False}, "flash"),
        (ADA, 256, {}, "flash"),
        (ADA, 256, {"dropout": 0.1}, "efficient"),
        (GEFORCE, 200, {}, "efficient"),
        (HOPPER, 128, {}, "cudnn"),
        (HOPPER, 136, {}, "flash"),
        (HOPPER, 256, {}, "cudnn"),
        (HOPPER, 192, {"value_width": 128}, "cudnn"),
        (HOPPER, 192, {}, "flash"),
        (HOPPER, 100, {}, "flash"),
        (HOPPER, 64, {"dropout": 0.125}, "cudnn"),
        (HOPPER, 64, {"dropout": 0.1}, "flash"),
    ],
)
def test_so_does_the_width_of_the_heads(capability, width, settings, expected):
    assert kernel(capability, BF16, width, **settings) == expected


@pytest.mark.parametrize(
    ("capability", "width", "expected"),
    [(AMPERE, 4, "efficient"), (AMPERE, 6, "math"), (TURING, 6, "efficient")],
)
def test_fp32_has_an_alignment_of_its_own(capability, width, expected):
    assert kernel(capability, FP32, width) == expected


def test_a_kernel_that_is_switched_off_is_passed_over():
    with sdpa_kernel(SDPBackend.MATH):
        assert kernel(HOPPER) == "math"
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION]):
        assert kernel(HOPPER) == "flash"
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        pytest.raises(NotPossibleError, match=r"^none of the attention kernels that the spec allows"),
    ):
        kernel(AMPERE, mask=True)
    assert kernel(HOPPER) == "cudnn"


def test_grouped_heads_take_the_efficient_kernel_since_torch_2_14(monkeypatch):
    assert kernel(AMPERE, FP32, grouped=True) == ("efficient" if torch.__version__ >= "2.14" else "math")
    monkeypatch.setattr(torch, "__version__", "2.13.1")
    assert kernel(AMPERE, FP32, grouped=True) == "math"
    assert kernel(AMPERE, BF16, grouped=True) == "flash"


@pytest.mark.parametrize(
    ("target", "settings", "expected"),
    [
        (A100, {"padding_mask": False}, ["flash"]),
        (A100, {}, ["efficient"]),
        (A100, {"attention": "eager"}, []),
        (A100, {"attention": "sdpa-math"}, ["math"]),
        (L40S, {"padding_mask": False, "precision": "amp-bf16"}, ["flash"]),
        (T4, {"precision": "fp16", "padding_mask": False}, ["efficient"]),
        (T4, {"padding_mask": False}, ["math"]),
        (H100, {}, ["cudnn"]),
        (H100, {"precision": "fp32"}, ["efficient"]),
        (A100, {"evaluation_batch_size": 2, "padding_mask": False}, ["flash"]),
    ],
)
def test_a_trace_says_which_kernels_it_ran(traced, target, settings, expected):
    ledger = traced(method="head", target=target, steps=1, **settings)
    assert ledger.facts["attention_kernels"] == expected
    names = {name for name in ledger.operators.names if "scaled_dot_product" in name}
    fused = [kernel for kernel in expected if kernel != "math"]
    assert names == {f"aten._scaled_dot_product_{kernel}_attention.default" for kernel in fused}


@pytest.mark.parametrize(("precision", "read"), [("bf16", 4), ("fp32", 4), ("fp16", 2)])
def test_eager_attention_makes_all_scores(traced, precision, read):
    ledger = traced(method="head", steps=1, attention="eager", precision=precision)
    softmax = operators(ledger, "aten._softmax.default")
    # It is in fp32, of four heads of 16 x 16 for each of the two samples; only fp16 is not cast before it.
    scores = 2 * 4 * 16 * 16
    assert ledger.operators.bytes_written[softmax].tolist() == [4 * scores] * 2
    assert ledger.operators.bytes_read[softmax].tolist() == [read * scores] * 2


def test_without_a_kernel_there_is_no_trace(traced):
    with pytest.raises(NotPossibleError, match=r"^none of the attention kernels that the spec allows"):
        traced(method="head", steps=1, attention="sdpa-flash")
