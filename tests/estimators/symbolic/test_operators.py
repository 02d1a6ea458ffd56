"""Operators: how often each runs, in which module and phase, and its work counted by hand."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from estimators.ledger import Owner
from profiler.measurement import Phase
from tests.estimators.ledgers import assert_same
from tests.estimators.symbolic import children
from tests.estimators.traces import A100, births, modules_of, operators, phases, span

BATCH, LENGTH, HEADS, WIDTH = 2, 16, 4, 16
TOKENS = BATCH * LENGTH
LINEARS = {
    **{f"model.layers.{layer}.self_attn.{name}_proj": rows * 64
       for layer in (0, 1) for name, rows in (("q", 64), ("k", 32), ("v", 32), ("o", 64))},
    **{f"model.layers.{layer}.mlp.{name}_proj": 128 * 64
       for layer in (0, 1) for name in ("gate", "up", "down")},
    "lm_head": 256 * 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def full(traced):
    return traced(method="full")


def test_the_phases_come_in_the_order_of_the_loop(full):
    step = [Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER]
    assert phases(full) == [(Phase.LOAD, 0), *((phase, index) for index in (0, 1) for phase in step)]
    events = [mark.event for mark in full.marks]
    assert events[0] == 0
    assert events == sorted(set(events))
    assert np.all(np.diff(full.operators.mark) >= 0)


def test_every_tensor_is_born_once_and_dies_once_at_most_and_later(full):
    born = {}
    for position, value in enumerate(full.events.tolist()):
        if value >= 0:
            assert value not in born
            born[value] = position
        else:
            assert born.pop(~value) < position
    assert set(full.live_tensors(len(full.events) - 1).tolist()) == set(born)
    assert len(full.sizes) == len(full.owners) == len(full.tensor_modules)
    assert full.sizes.min() >= 1


def test_every_linear_layer_multiplies_once_forward_and_twice_backward(full):
    for step in (0, 1):
        forward = operators(full, "aten.mm.default", phase=Phase.FORWARD, step=step)
        backward = operators(full, "aten.mm.default", phase=Phase.BACKWARD, step=step)
        assert Counter(modules_of(full, forward)) == dict.fromkeys(LINEARS, 1)
        assert Counter(modules_of(full, backward)) == dict.fromkeys(LINEARS, 2)


def test_products_have_the_work_of_their_shapes(full):
    positions = operators(full, "aten.mm.default", step=1)
    for module, flops in zip(modules_of(full, positions), full.operators.flops[positions], strict=True):
        assert flops == 2 * TOKENS * LINEARS[module], module


def test_attention_has_the_work_of_two_products_and_five(full):
    forward = operators(full, "aten._scaled_dot_product_efficient_attention.default", step=1)
    product = 2 * BATCH * HEADS * LENGTH * LENGTH * WIDTH
    assert full.operators.flops[forward].tolist() == [2 * product] * 2
    backward = operators(full, "aten._scaled_dot_product_efficient_attention_backward.default", step=1)
    assert full.operators.flops[backward].tolist() == [5 * product] * 2
    assert modules_of(full, forward) == [f"model.layers.{layer}.self_attn" for layer in (0, 1)]
    assert modules_of(full, backward) == [f"model.layers.{layer}.self_attn" for layer in (1, 0)]


def test_other_operators_have_bytes_and_no_work(full):
    silu = operators(full, "aten.silu.default", step=1)
    assert full.operators.flops[silu].tolist() == [0, 0]
    assert full.operators.bytes_read[silu].tolist() == [2 * TOKENS * 128] * 2
    assert full.operators.bytes_written[silu].tolist() == [2 * TOKENS * 128] * 2
    assert full.operators.is_16bit[silu].all()
    softmax = operators(full, "aten._log_softmax.default", step=1)
    assert full.operators.bytes_written[softmax].tolist() == [4 * TOKENS * 256]
    assert not full.operators.is_16bit[softmax].any()


def test_an_operator_in_place_writes_what_it_changes(traced):
    ledger = traced(method="lora", gradient_accumulation=2)
    added = operators(ledger, "aten.add_.Tensor", phase=Phase.BACKWARD, step=1)
    written = ledger.operators.bytes_written[added[~ledger.operators.is_16bit[added]]]
    of_adapters = written[written != 4 * TOKENS * 64]  # the others are of activations
    # r = 8: q has 8 x 64 twice, v 8 x 64 and 32 x 8, in two layers, all in fp32.
    assert of_adapters.sum() == 4 * 2 * (3 * 512 + 256)


@pytest.mark.parametrize("phase", [Phase.FORWARD, Phase.BACKWARD])
def test_tensors_know_the_module_they_were_born_in(full, phase):
    born = list(births(full, span(full, phase, 1)))
    modules = {full.modules[module] for module in full.tensor_modules[born]}
    assert set(LINEARS) <= modules
    assert full.modules[0] == ""


def test_gradients_are_born_in_the_modules_of_their_weights(full):
    born = [tensor for tensor in births(full, span(full, Phase.BACKWARD, 1))
            if full.owners[tensor] == Owner.GRADIENTS]  # fmt: skip
    sizes = Counter({name: 2 * count for name, count in LINEARS.items()})
    norms = [f"model.layers.{layer}.{name}" for layer in (0, 1)
             for name in ("input_layernorm", "post_attention_layernorm")]  # fmt: skip
    sizes |= dict.fromkeys([*norms, "model.norm"], 2 * 64)
    sizes["model.embed_tokens"] = 2 * 256 * 64
    found = Counter()
    for tensor in born:
        found[full.modules[full.tensor_modules[tensor]]] += int(full.sizes[tensor])
    assert found == sizes


def test_the_backward_of_views_is_in_their_module(full):
    # Half of q and half of k, turned by their positions: slices, twice each.
    slices = operators(full, "aten.slice_backward.default", phase=Phase.BACKWARD, step=1)
    assert Counter(modules_of(full, slices)) == {f"model.layers.{layer}.self_attn": 4 for layer in (0, 1)}


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_products_are_in_the_modules_of_their_forward(traced, reentrant):
    ledger = traced(method="full", gradient_checkpointing="full", reentrant=reentrant)
    backward = operators(ledger, "aten.mm.default", phase=Phase.BACKWARD, step=1)
    expected = {**dict.fromkeys(LINEARS, 3), "lm_head": 2}
    if not reentrant:  # it stops when all is there that was saved, before the last product of a layer
        expected |= {f"model.layers.{layer}.mlp.down_proj": 2 for layer in (0, 1)}
    assert Counter(modules_of(ledger, backward)) == expected


def test_a_frozen_layer_has_no_gradient_of_its_weight(traced):
    ledger = traced(method="lora")
    backward = Counter(modules_of(ledger, operators(ledger, "aten.mm.default", phase=Phase.BACKWARD, step=1)))
    path = "base_model.model.model.layers.{}.{}"
    assert backward[path.format(1, "self_attn.k_proj")] == 1  # of its input alone
    assert backward[path.format(0, "self_attn.k_proj")] == 0  # which nothing trainable comes before
    assert backward[path.format(0, "mlp.down_proj")] == 1
    assert backward[path.format(1, "self_attn.q_proj.base_layer")] == 1
    assert backward[path.format(1, "self_attn.q_proj.lora_A.default")] == 2
    assert backward[path.format(1, "self_attn.q_proj.lora_B.default")] == 2


def test_the_foreach_optimizer_has_temporaries_of_all_parameters_at_once(traced):
    trained = 4 * 2 * (3 * 512 + 256)
    highest = {}
    for optimizer in ("adamw", "adamw-fused", "sgd"):
        ledger = traced(method="lora", optimizer=optimizer, max_grad_norm=0)
        update = span(ledger, Phase.OPTIMIZER, 1)
        highest[optimizer] = max(
            int(ledger.sizes[live][ledger.owners[live] == Owner.TEMPORARY].sum())
            for live in map(ledger.live_tensors, update)
        )
    assert highest["adamw"] == trained  # the square roots of the second moments
    assert highest["adamw-fused"] == highest["sgd"] == 0


def test_clipping_takes_norms_of_all_gradients(traced):
    clipped, unclipped = traced(method="lora"), traced(method="lora", max_grad_norm=0)
    assert len(operators(clipped, "aten._foreach_norm.Scalar", step=1)) == 1
    assert len(operators(unclipped, "aten._foreach_norm.Scalar")) == 0
    born = list(births(clipped, span(clipped, Phase.OPTIMIZER, 1)))
    # One norm for each of the eight tensors, and a partial result for each.
    assert (clipped.sizes[born] == 4).sum() >= 8
    assert 4 * 8 in clipped.sizes[born]


def test_half_precision_is_scaled_and_its_gradients_unscaled(traced):
    ledger = traced(method="lora", precision="amp-fp16")
    name = "aten._amp_foreach_non_finite_check_and_unscale_.default"
    assert len(operators(ledger, name, phase=Phase.OPTIMIZER, step=1)) == 1
    assert len(operators(traced(method="lora", precision="amp-bf16"), name)) == 0


def test_two_traces_of_a_spec_are_equal(traced, tmp_path, monkeypatch):
    settings = {"method": "lora", "gradient_checkpointing": "full", "quantization": "nf4"}
    first = traced(**settings)
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path))
    second = traced(**settings)
    assert first is not second
    assert_same(without_figures_of_the_trace(second), without_figures_of_the_trace(first))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("llama", {"method": "lora", "precision": "amp-bf16", "gradient_checkpointing": "full"}),
        ("gemma2", {"method": "full"}),
        ("t5", {"method": "lora"}),
        ("vit", {"method": "full", "precision": "fp16"}),
    ],
)
def test_what_is_remembered_of_shapes_changes_no_ledger(model, settings, trial, in_child):
    with_memo, without = (
        in_child(children.traced, trial(model, **settings), A100, remembers) for remembers in (True, False)
    )
    assert_same(with_memo, without)


def without_figures_of_the_trace(ledger):
    figures = ("seconds", "peak_resident_bytes")
    facts = {name: fact for name, fact in ledger.facts.items() if name not in figures}
    return dataclasses.replace(ledger, facts=facts)
