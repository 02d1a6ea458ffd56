"""How many bytes of what are alive when: counted by hand for the tiny Llama."""

import numpy as np
import pytest

from estimators.allocator import EMPTY_CACHE
from estimators.ledger import Owner
from profiler.measurement import Phase
from tests.estimators.traces import (
    A100,
    H100,
    L40S,
    RESIDENT,
    T4,
    births,
    count_of_inputs,
    kept_bytes,
    left_after,
    live_bytes,
    operators,
    phases,
    span,
    spans,
)

# Two layers of: q and o 64 x 64, k and v 32 x 64, three of the MLP 128 x 64, two norms of 64.
LAYER = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 2 * 64
EMBEDDING = 256 * 64
PARAMETERS = 2 * LAYER + 2 * EMBEDDING + 64
BUFFERS = 2 * 8 * 4  # the rotary frequencies, of half a head, twice, in fp32
LORA = 2 * (8 * (64 + 64) + 8 * (64 + 32))  # r = 8 on q and v of both layers
BATCH, LENGTH = 2, 16
TOKENS = BATCH * LENGTH
LOGITS = TOKENS * 256
INPUTS = 3 * 8 * TOKENS  # ids, mask and labels
WORKSPACE = 8_519_680


def test_lora_keeps_weights_adapter_and_states(traced):
    ledger = traced(method="lora", steps=3)
    assert ledger.facts["trainable_parameters"] == LORA
    assert ledger.facts["total_parameters"] == PARAMETERS + LORA
    loaded = live_bytes(ledger, span(ledger, Phase.LOAD, 0).stop - 1)
    assert loaded[Owner.WEIGHTS] == 2 * PARAMETERS + BUFFERS
    assert loaded[Owner.ADAPTER] == 4 * LORA
    assert loaded[Owner.INPUTS] == INPUTS
    assert sum(loaded.values()) == 2 * PARAMETERS + BUFFERS + 4 * LORA + INPUTS
    assert left_after(ledger, Phase.OPTIMIZER, 2) == {
        Owner.WEIGHTS: 2 * PARAMETERS + BUFFERS,
        Owner.ADAPTER: 4 * LORA,
        Owner.OPTIMIZER: 2 * 4 * LORA,
        Owner.WORKSPACE: 2 * WORKSPACE,
    }
    assert left_after(ledger, Phase.BACKWARD, 2)[Owner.GRADIENTS] == 4 * LORA


def test_full_has_gradients_and_states_in_the_type_of_the_weights(traced):
    ledger = traced(method="full")
    assert left_after(ledger, Phase.OPTIMIZER, 1) == {
        Owner.WEIGHTS: 2 * PARAMETERS + BUFFERS,
        Owner.OPTIMIZER: 2 * 2 * PARAMETERS,
        Owner.WORKSPACE: 2 * WORKSPACE,
    }
    assert left_after(ledger, Phase.BACKWARD, 1)[Owner.GRADIENTS] == 2 * PARAMETERS


def test_the_adapter_is_cast_to_fp32_once_it_is_loaded(traced):
    # peft makes it in the type of the weights: both copies of a tensor are alive at once.
    ledger = traced(method="lora")
    born = list(births(ledger, span(ledger, Phase.LOAD, 0)))
    assert ledger.sizes[born].sum() == 2 * PARAMETERS + BUFFERS + (2 + 4) * LORA + INPUTS


@pytest.mark.parametrize("settings", [{"method": "lora"}, {"method": "full", "loop": "function"}])
def test_a_step_leaves_nothing_behind_that_the_one_before_did_not(traced, settings):
    ledger = traced(steps=3, **settings)
    left = [left_after(ledger, Phase.OPTIMIZER, step) for step in range(3)]
    assert left[0] == left[1]
    kept = {owner: size for owner, size in left[2].items() if owner in RESIDENT}
    # A plain loop lets gradients be until the next step begins.
    gradients = {Owner.GRADIENTS: 2 * PARAMETERS} if settings["method"] == "full" else {}
    assert left[2] == kept | gradients
    assert kept == {owner: size for owner, size in left[1].items() if owner in RESIDENT}


def test_the_first_step_has_no_optimizer_state_yet(traced):
    ledger = traced(method="lora")
    first, second = (span(ledger, Phase.BACKWARD, step).stop - 1 for step in (0, 1))
    assert Owner.OPTIMIZER not in live_bytes(ledger, first)
    assert live_bytes(ledger, second)[Owner.OPTIMIZER] == 8 * LORA


@pytest.mark.parametrize("target", [T4, A100, L40S, H100], ids=lambda target: target.name)
def test_cublas_has_a_workspace_in_forward_and_one_in_backward(traced, target):
    ledger = traced(method="lora", precision="fp16", target=target)
    workspaces = np.flatnonzero(ledger.owners == Owner.WORKSPACE)
    size = 32 * 2**20 if target is H100 else WORKSPACE
    assert ledger.sizes[workspaces].tolist() == [size, size]
    born = [int(np.flatnonzero(ledger.events == workspace)[0]) for workspace in workspaces]
    assert [ledger.mark_of(event).phase for event in born] == [Phase.FORWARD, Phase.BACKWARD]
    assert [ledger.mark_of(event).step for event in born] == [0, 0]


def test_a_workspace_is_one_even_where_loading_multiplies(traced):
    ledger = traced(method="psoft")
    workspaces = np.flatnonzero(ledger.owners == Owner.WORKSPACE)
    assert ledger.sizes[workspaces].tolist() == [WORKSPACE, WORKSPACE]
    born = [int(np.flatnonzero(ledger.events == workspace)[0]) for workspace in workspaces]
    assert [ledger.mark_of(event).phase for event in born] == [Phase.LOAD, Phase.BACKWARD]
    held = live_bytes(ledger, ledger.marks[1].event - 1)
    assert held[Owner.WORKSPACE] == WORKSPACE  # and not among the weights


def test_a_batch_is_moved_before_its_forward(traced):
    ledger = traced(method="lora", padding_mask=False)
    assert count_of_inputs(ledger) == 2  # ids and labels
    ledger = traced(method="lora", gradient_accumulation=2)
    assert count_of_inputs(ledger) == 3
    for step in (0, 1):
        forwards, backwards = spans(ledger, Phase.FORWARD, step), spans(ledger, Phase.BACKWARD, step)
        for forward, backward in zip(forwards, backwards, strict=True):
            inputs = list(births(ledger, range(forward.start - 3, forward.start)))
            assert ledger.sizes[inputs].tolist() == [8 * TOKENS] * 3
            assert ledger.owners[inputs].tolist() == [Owner.INPUTS] * 3
            assert set(inputs) <= set(ledger.live_tensors(forward.start - 1).tolist())
            assert set(inputs).isdisjoint(ledger.live_tensors(backward.stop - 1))


def test_backward_needs_the_ids_only_where_the_embedding_is_trained(traced):
    def inputs_after_forward(method):
        ledger = traced(method=method)
        forward = span(ledger, Phase.FORWARD, 1)
        inputs = set(births(ledger, range(forward.start - 3, forward.start)))
        return len(inputs & set(ledger.live_tensors(forward.stop - 1).tolist()))

    assert (inputs_after_forward("full"), inputs_after_forward("head")) == (1, 0)


def test_the_trainer_drops_the_logits_before_backward_and_a_plain_loop_does_not(traced):
    loops = {loop: traced(method="head", loop=loop, steps=3) for loop in ("trainer", "function", "raw")}
    kept = {
        loop: live_bytes(ledger, span(ledger, Phase.FORWARD, 1).stop - 1)[Owner.LOGITS_AND_LOSS]
        for loop, ledger in loops.items()
    }
    # The logits in 16 bits, and the loss before it was divided by the micro-batches.
    assert kept["function"] - kept["trainer"] == 2 * LOGITS + 4
    assert kept["raw"] == kept["function"]
    # The log-probabilities in fp32, the labels shifted by one, and two numbers of the loss.
    assert kept["trainer"] == 4 * LOGITS + 8 * TOKENS + 4 + 4


@pytest.mark.parametrize(
    ("loop", "in_optimizer", "after_step"),
    [("trainer", False, False), ("function", True, False), ("raw", True, True)],
)
def test_how_long_the_outputs_live(traced, loop, in_optimizer, after_step):
    ledger = traced(method="head", loop=loop, steps=3)

    def has_logits(event):
        live = ledger.live_tensors(event)
        return bool((ledger.sizes[live][ledger.owners[live] == Owner.LOGITS_AND_LOSS] == 2 * LOGITS).any())

    assert has_logits(span(ledger, Phase.OPTIMIZER, 1).start) is in_optimizer
    assert has_logits(span(ledger, Phase.FORWARD, 2).start) is after_step
    # The next forward has replaced them by its own when it ends.
    live = ledger.live_tensors(span(ledger, Phase.FORWARD, 2).stop - 1)
    heads = ledger.sizes[live][ledger.owners[live] == Owner.LOGITS_AND_LOSS]
    assert (heads == 2 * LOGITS).sum() == (loop != "trainer")


def test_a_plain_loop_lets_gradients_live_until_the_next_step(traced):
    plain, trainer = traced(method="lora", loop="raw"), traced(method="lora")
    assert live_bytes(plain, len(plain.events) - 1)[Owner.GRADIENTS] == 4 * LORA
    assert Owner.GRADIENTS not in live_bytes(trainer, len(trainer.events) - 1)
    assert Owner.GRADIENTS not in live_bytes(plain, span(plain, Phase.FORWARD, 1).start)


def test_checkpointing_keeps_the_inputs_of_the_layers_only(traced):
    plain = traced(method="full", padding_mask=False)
    checkpointed = traced(method="full", padding_mask=False, gradient_checkpointing="full")
    hidden = TOKENS * 64
    rotary = 2 * 2 * LENGTH * 16 + 8 * LENGTH  # cosine, sine and positions, for the layers to recompute with
    final_norm = (4 + 2 + 2) * hidden + 4 * TOKENS  # its input in fp32, two products, and the scale
    logits = 4 * LOGITS + 8 * TOKENS + 8
    assert kept_bytes(checkpointed) == 2 * (2 * hidden) + rotary + final_norm + logits
    assert kept_bytes(plain) > 3 * kept_bytes(checkpointed)
    forwards = [len(operators(ledger, "aten.silu.default", step=1)) for ledger in (plain, checkpointed)]
    assert forwards == [2, 4]


def test_accumulated_gradients_stay_and_new_ones_are_added_to_them(traced):
    ledger = traced(method="lora", gradient_accumulation=3)
    step = [Phase.FORWARD, Phase.BACKWARD] * 3 + [Phase.OPTIMIZER]
    assert phases(ledger) == [(Phase.LOAD, 0), *((phase, index) for index in (0, 1) for phase in step)]
    first, second, third = spans(ledger, Phase.FORWARD, 1)
    assert Owner.GRADIENTS not in live_bytes(ledger, first.stop - 1)
    for forward in (second, third):
        assert live_bytes(ledger, forward.stop - 1)[Owner.GRADIENTS] == 4 * LORA
    once = traced(method="lora")
    sums, sums_once = (
        one.operators.bytes_written[operators(one, "aten.add_.Tensor", phase=Phase.BACKWARD, step=1)]
        for one in (ledger, once)
    )
    assert len(sums) == 3 * len(sums_once) + 2 * 8
    assert sums.sum() == 3 * sums_once.sum() + 2 * 4 * LORA


@pytest.mark.parametrize(("every", "after_steps"), [(0, []), (1, [0, 1, 2]), (2, [1])])
def test_the_cache_is_emptied_after_every_so_many_steps(traced, every, after_steps):
    ledger = traced(method="lora", steps=3, empty_cache_every=every)
    emptied = np.flatnonzero(ledger.events == EMPTY_CACHE)
    assert [ledger.mark_of(event).step for event in emptied] == after_steps
    assert all(ledger.mark_of(event).phase is Phase.OPTIMIZER for event in emptied)


def test_preparing_quantised_weights_empties_the_cache_while_loading(traced):
    ledger = traced(method="lora", quantization="nf4")
    (event,) = np.flatnonzero(ledger.events == EMPTY_CACHE)
    assert ledger.mark_of(event).phase is Phase.LOAD
    unprepared = traced(method="lora", quantization="nf4", kbit_prepare=False)
    assert EMPTY_CACHE not in unprepared.events


def test_evaluation_is_a_forward_that_keeps_nothing(traced):
    ledger = traced(method="lora", evaluation_batch_size=5)
    assert phases(ledger)[-1] == (Phase.EVALUATION, 1)
    evaluation = span(ledger, Phase.EVALUATION, 1)
    logits = 2 * 5 * LENGTH * 256
    assert logits in ledger.sizes[list(births(ledger, evaluation))]
    assert live_bytes(ledger, evaluation.stop - 1) == left_after(ledger, Phase.OPTIMIZER, 0)
    silu = operators(ledger, "aten.silu.default", phase=Phase.EVALUATION)
    assert ledger.operators.bytes_written[silu].tolist() == [2 * 5 * LENGTH * 128] * 2
    assert not len(operators(ledger, "aten._log_softmax_backward_data.default", phase=Phase.EVALUATION))


def test_saving_is_assumed_to_take_nothing(traced):
    plain, saved = traced(method="lora"), traced(method="lora", save=True)
    assert plain.facts["assumptions"] == []
    (sentence,) = saved.facts["assumptions"]
    assert "saving copies one tensor at a time to the host" in sentence
    np.testing.assert_array_equal(plain.events, saved.events)


def test_varying_lengths_make_steps_of_other_sizes(traced):
    ledger = traced(method="lora", lengths=[16, 32, 8], steps=3)
    written = [
        ledger.operators.bytes_written[operators(ledger, "aten.silu.default", step=step)].tolist()
        for step in range(3)
    ]
    assert written == [[2 * BATCH * length * 128] * 2 for length in (16, 32, 8)]
