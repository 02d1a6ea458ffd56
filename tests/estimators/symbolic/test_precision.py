"""What precision and quantisation make of the weights, and what is cast and unpacked when."""

from collections import Counter

import numpy as np
import pytest

from estimators.ledger import Owner
from estimators.target import Target
from profiler.measurement import Phase
from tests.estimators.traces import A100, births, live_bytes, modules_of, operators, span

LINEARS = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64)
ROWS = 2 * (2 * 64 + 2 * 32 + 2 * 128 + 64)  # of the linear layers, whose scales are one a row
OTHERS = 2 * 256 * 64 + 5 * 64  # embeddings and norms stay as they are
BUFFERS = 2 * 8 * 4
LAYERS = 2 * 7
UNKNOWN_COUNT = Target(capability=(8, 0), sm_count=None)


def weights(ledger):
    return live_bytes(ledger, span(ledger, Phase.LOAD, 0).stop - 1)[Owner.WEIGHTS]


@pytest.mark.parametrize(
    ("precision", "size"), [("bf16", 2), ("fp16", 2), ("fp32", 4), ("amp-bf16", 4), ("amp-fp16", 4)]
)
def test_autocast_keeps_the_weights_in_fp32(traced, precision, size):
    ledger = traced(method="head", precision=precision, steps=1)
    assert weights(ledger) == size * (LINEARS + OTHERS) + BUFFERS


@pytest.mark.parametrize("prepared", [True, False])
def test_four_bit_weights_are_half_a_byte_and_a_scale_for_64(traced, prepared):
    ledger = traced(method="lora", quantization="nf4", kbit_prepare=prepared, steps=1)
    tables = LAYERS * 16 * 4  # each layer has the sixteen values
    others = (4 if prepared else 2) * OTHERS  # preparing casts what is not quantised to fp32
    assert weights(ledger) == LINEARS // 2 + LINEARS // 64 * 4 + tables + others + BUFFERS


def test_eight_bit_weights_are_a_byte_and_a_scale_for_each_row(traced):
    ledger = traced(method="lora", quantization="int8", steps=1)
    assert weights(ledger) == LINEARS + 4 * ROWS + 4 * OTHERS + BUFFERS


def test_a_four_bit_weight_is_on_the_gpu_in_16_bits_while_it_is_loaded(traced):
    loaded = {
        name: traced(method="lora", quantization=name, steps=1, kbit_prepare=False)
        for name in ("nf4", "int8")
    }
    sizes = {
        name: Counter(one.sizes[list(births(one, span(one, Phase.LOAD, 0)))]) for name, one in loaded.items()
    }
    # gate, up and down in two layers: 128 x 64.
    assert sizes["nf4"][2 * 128 * 64] == 6
    assert sizes["int8"][2 * 128 * 64] == 6  # quantised from a copy in fp16


def test_backward_unpacks_a_weight_where_a_gradient_must_pass(traced):
    ledger = traced(method="lora", quantization="nf4", batch_size=3)  # no activation is as large as a weight
    unpacked = operators(ledger, "bitsandbytes.dequantize_4bit.default", phase=Phase.BACKWARD, step=1)
    modules = Counter(path.removeprefix("base_model.model.model.") for path in modules_of(ledger, unpacked))
    # Before the first layer's q, k and v nothing is trained.
    assert sum(modules.values()) == LAYERS - 3
    assert set(modules.values()) == {1}
    assert not any("layers.0.self_attn." + name in path for path in modules for name in ("q_proj", "k_proj"))
    assert "layers.0.mlp.down_proj" in modules
    written = ledger.operators.bytes_written[unpacked]
    assert Counter(written.tolist()) == {2 * 128 * 64: 6, 2 * 64 * 64: 3, 2 * 32 * 64: 2}
    born = list(births(ledger, span(ledger, Phase.BACKWARD, 1)))
    copies = [tensor for tensor in born if ledger.sizes[tensor] == 2 * 128 * 64]
    assert len(copies) == 6
    alive = [ledger.live_tensors(event).tolist() for event in span(ledger, Phase.BACKWARD, 1)]
    assert max(len(set(copies) & set(living)) for living in alive) == 1  # gone before the next is made


def test_an_eight_bit_product_is_an_integer_one_and_a_16_bit_one(traced):
    ledger = traced(method="lora", quantization="int8", precision="fp16")
    products = operators(ledger, "bitsandbytes.int8_linear_matmul.default", phase=Phase.FORWARD, step=1)
    assert len(products) == LAYERS
    tokens = 2 * 16
    # 32-bit integers, one for each output of each token.
    assert ledger.operators.bytes_written[products].sum() == 4 * tokens * ROWS


def test_a_gpu_of_unknown_size_unpacks_every_weight_forward_too(traced):
    ledger = traced(method="lora", quantization="nf4", target=UNKNOWN_COUNT)
    born = list(births(ledger, span(ledger, Phase.FORWARD, 1)))
    sizes = Counter(ledger.sizes[born].tolist())
    assert sizes[2 * 128 * 64] >= 6
    products = operators(ledger, "aten.mm.default", phase=Phase.FORWARD, step=1)
    adapters = 2 * 2 * 2  # A and B of q and v in both layers
    assert len(products) == LAYERS + adapters + 1


def test_double_quantised_scales_are_a_byte_each(traced):
    plain, double = (
        weights(traced(method="lora", quantization="nf4", double_quant=one, steps=1)) for one in (False, True)
    )
    blocks, table = LINEARS // 64, 256 * 4
    # A byte a block; for each layer a scale for 256 blocks, a table of their values, and their mean; and the
    # table that the library keeps.
    assert double - plain == blocks + LAYERS * (4 + table + 4) + table - 4 * blocks


def test_fp32_adapters_are_cast_to_the_type_of_autocast_once_a_forward(traced):
    ledger = traced(method="lora", precision="amp-bf16", gradient_accumulation=2)
    casts = operators(ledger, "aten._to_copy.default", phase=Phase.FORWARD, step=1)
    in_adapters = [position for position, module in zip(casts, modules_of(ledger, casts), strict=True)
                   if ".lora_B.default" in module]  # fmt: skip
    # q has 64 rows of r = 8, v has 32, in two layers and two forwards.
    written = Counter(ledger.operators.bytes_written[np.array(in_adapters)].tolist())
    assert written[2 * 8 * 64] == 2 * 2
    assert written[2 * 8 * 32] == 2 * 2


def test_checkpointing_casts_weights_anew_where_it_recomputes(traced):
    ledger = traced(method="full", precision="amp-bf16", gradient_checkpointing="full")
    for phase in (Phase.FORWARD, Phase.BACKWARD):
        casts = operators(ledger, "aten._to_copy.default", phase=phase, step=1)
        written = ledger.operators.bytes_written[casts]
        in_gates = [module.endswith("gate_proj") for module in modules_of(ledger, casts)]
        # One of the weight of each layer; the cast of its gradient is to fp32.
        assert (written[in_gates] == 2 * 128 * 64).sum() == 2


def test_the_target_is_no_part_of_what_is_kept_without_attention_kernels(traced):
    settings = {"method": "full", "attention": "eager", "precision": "fp32"}
    here, there = traced(**settings), traced(**settings, target=UNKNOWN_COUNT)
    np.testing.assert_array_equal(here.events, there.events)
    np.testing.assert_array_equal(here.sizes, there.sizes)
    assert here.facts["depends_on_sm_count"] is False
    assert A100 != UNKNOWN_COUNT
