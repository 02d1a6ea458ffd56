"""Shapes, lengths and padding of the batches."""

from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.workload.batches import Batches
from profiler.workload.config import load_config


@pytest.fixture
def batches(spec):
    def make(model="llama", **fields):
        made = spec(model, **fields)
        return Batches(made, load_config(made))

    return make


def same(batch, other):
    return all(torch.equal(value, other.inputs[name]) for name, value in batch.inputs.items())


def test_a_batch_is_the_same_everywhere_and_differs_from_the_next(batches):
    first, second = (batches(gradient_accumulation=2) for _ in range(2))
    made = [first.batch(step, micro) for step in range(2) for micro in range(2)]
    again = [second.batch(step, micro) for step in range(2) for micro in range(2)]
    assert all(same(a, b) for a, b in zip(made, again, strict=True))
    assert not any(same(a, b) for a, b in pairwise(made))


def test_one_padded_position_keeps_the_mask_from_being_dropped(batches):
    batch = batches(padding_mask=True).batch(0)
    assert batch.inputs["input_ids"].shape == (2, 16)
    assert batch.inputs["attention_mask"].tolist() == [[1] * 16, [1] * 15 + [0]]
    assert batch.inputs["labels"].eq(-100).nonzero().tolist() == [[1, 15]]
    assert batch.inputs["input_ids"][1, 15] == 0
    assert (batch.tokens, batch.tokens_nonpad) == (32, 31)


def test_a_single_sample_has_its_padded_position_too(batches):
    batch = batches(padding_mask=True, batch_size=1).batch(0)
    assert batch.inputs["attention_mask"].tolist() == [[1] * 15 + [0]]
    assert (batch.tokens, batch.tokens_nonpad) == (16, 15)


def test_without_a_padding_mask_there_is_none(batches):
    batch = batches(padding_mask=False).batch(0)
    assert set(batch.inputs) == {"input_ids", "labels"}
    assert torch.equal(batch.inputs["input_ids"], batch.inputs["labels"])
    assert (batch.tokens, batch.tokens_nonpad) == (32, 32)


def test_a_list_of_lengths_is_the_width_of_each_step_and_is_cycled(batches):
    made = batches(lengths=[8, 1, 24], gradient_accumulation=2)
    widths = [made.batch(step, micro).inputs["input_ids"].shape[1] for step in range(4) for micro in range(2)]
    assert widths == [8, 8, 1, 1, 24, 24, 8, 8]


def test_a_histogram_is_drawn_by_its_weights_and_padded_to_the_longest(batches):
    made = batches(lengths={4: 3, 9: 1}, batch_size=8)
    drawn = []
    for step in range(100):
        batch = made.batch(step)
        lengths = batch.inputs["attention_mask"].sum(dim=1)
        assert batch.inputs["input_ids"].shape[1] == lengths.max()
        assert (batch.tokens, batch.tokens_nonpad) == (8 * lengths.max(), lengths.sum())
        drawn += lengths.tolist()
    assert set(drawn) == {4, 9}
    assert 0.7 < drawn.count(4) / len(drawn) < 0.8


def test_the_seed_decides_the_draws(batches):
    shapes = {
        seed: [
            batches(lengths={4: 1, 9: 1, 12: 1}, lengths_seed=seed).batch(step).tokens_nonpad
            for step in range(20)
        ]
        for seed in (0, 1)
    }
    assert shapes[0] != shapes[1]


def test_packing_starts_positions_anew_with_each_sample(batches):
    batch = batches(lengths={5: 1}, packing=True, sequence_length=16, batch_size=2).batch(0)
    assert batch.inputs["position_ids"].tolist() == [[*range(5), *range(5), *range(5), 0]] * 2
    assert "attention_mask" not in batch.inputs
    assert (batch.samples, batch.tokens, batch.tokens_nonpad) == (6, 32, 30)
    assert batch.inputs["labels"].eq(-100).nonzero().tolist() == [[0, 15], [1, 15]]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.dictionaries(st.integers(1, 40), st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    step=st.integers(0, 5),
)
def test_packed_rows_hold_whole_samples_or_one_that_was_cut(batches, lengths, seed, step):
    made = batches(lengths=lengths, lengths_seed=seed, packing=True, sequence_length=24)
    batch = made.batch(step)
    samples = 0
    for positions, labels in zip(batch.inputs["position_ids"], batch.inputs["labels"], strict=True):
        starts = [*positions.eq(0).nonzero().flatten().tolist(), 24]
        pieces = [end - start for start, end in pairwise(starts)]
        filled = int(labels.ne(-100).sum())
        if filled < 24:
            assert pieces.pop() == 24 - filled
        assert sum(pieces) == filled
        assert all(piece in lengths or piece == 24 for piece in pieces)
        samples += len(pieces)
    assert batch.samples == samples
    assert batch.tokens == 48


def test_packed_samples_train(workload, run_step):
    counted = run_step(workload(lengths={5: 1, 30: 1}, packing=True))
    assert counted.tokens == 32


def test_a_classifier_has_one_label_a_sample(batches):
    batch = batches("bert").batch(0)
    assert batch.inputs["labels"].shape == (2,)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("amp-bf16", torch.float32)])
def test_images_have_the_size_of_the_model_and_the_type_of_its_weights(precision, dtype, batches):
    pixels = batches("vit", precision=precision).batch(0).inputs["pixel_values"]
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == dtype


def test_methods_that_ask_for_the_task_of_a_sample_get_one(batches):
    assert batches(method="poly").batch(0).inputs["task_ids"].tolist() == [0, 0]
