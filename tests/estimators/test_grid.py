"""A grid of memory equals what replaying each of its cells gives."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.grid import memory_grid
from estimators.memory import Verdict, fits, peak_reserved_bytes
from estimators.sizes import SizeModel, Vary
from profiler.catalog import find_gpu
from profiler.errors import NotPossibleError
from tests.estimators.ledgers import small_ledger
from tests.factories import trial_spec

MIB = 2**20
# One of which only the driver's total is known, of 1000 MiB.
GPU = dataclasses.replace(find_gpu("a10"), id="x1", name="NVIDIA X1", sm_count=40, memory_mib=1000)
SPEC = trial_spec()


def size_model(weights_mib, per_token_bytes, per_pair_bytes):
    """Return sizes of: weights, activations that grow with the tokens, and scores with length squared."""
    coefficients = np.zeros((3, 6))
    coefficients[0, Vary.BOTH.value.index((0, 0))] = weights_mib * MIB
    coefficients[1, Vary.BOTH.value.index((1, 1))] = per_token_bytes
    coefficients[2, Vary.BOTH.value.index((1, 2))] = per_pair_bytes
    ledger = small_ledger(
        events=np.array([0, 1, 2, ~2, ~1], dtype=np.int32),
        sizes=np.ones(3, dtype=np.int64),
        owners=np.zeros(3, dtype=np.uint8),
        tensor_modules=np.zeros(3, dtype=np.int32),
    )
    return SizeModel(vary=Vary.BOTH, at_point=ledger, coefficients=coefficients)


def brute_force(model, batch_sizes, lengths):
    """Return the reserved bytes of every cell, and the largest batch that fits for each length."""
    ledgers = {
        (batch, length): model.ledger(batch_size=batch, sequence_length=length)
        for batch, length in itertools.product(batch_sizes, lengths)
    }
    reserved = [
        [peak_reserved_bytes(ledgers[batch, length], SPEC) for length in lengths] for batch in batch_sizes
    ]
    largest = [
        max((b for b in batch_sizes if fits(ledgers[b, length], SPEC, GPU) is Verdict.FITS), default=None)
        for length in lengths
    ]
    return np.array(reserved, dtype=float), tuple(largest)


def grid_of(model, batch_sizes, lengths):
    return memory_grid(model, SPEC, GPU, batch_sizes=batch_sizes, lengths=lengths)


@given(
    weights=st.integers(1, 900),
    per_token=st.integers(1, 200_000),
    per_pair=st.integers(0, 1000),
    batch_sizes=st.sets(st.integers(1, 64), min_size=1, max_size=6).map(sorted),
    lengths=st.sets(st.integers(1, 2048), min_size=1, max_size=6).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_a_small_grid_is_what_every_cell_gives(weights, per_token, per_pair, batch_sizes, lengths):
    model = size_model(weights, per_token, per_pair)
    grid = grid_of(model, batch_sizes, lengths)
    reserved, largest = brute_force(model, batch_sizes, lengths)
    assert grid.is_replayed.all()  # no axis has more than the supports
    np.testing.assert_array_equal(grid.peak_reserved_bytes, reserved)
    assert grid.largest_batch == largest
    assert (grid.batch_sizes, grid.lengths) == (tuple(batch_sizes), tuple(lengths))


@pytest.mark.parametrize(
    ("weights", "expected"), [(100, "some"), (950, "none"), (1, "all")], ids=["some", "none", "all"]
)
def test_the_edge_of_a_large_grid_is_found_by_replaying(weights, expected):
    batch_sizes, lengths = list(range(1, 33)), list(range(64, 1089, 64))
    model = size_model(weights, 40_000 if expected == "some" else 1, 0)
    grid = grid_of(model, batch_sizes, lengths)
    reserved, largest = brute_force(model, batch_sizes, lengths)
    assert grid.largest_batch == largest
    assert {"none": largest == (None,) * 17, "all": largest == (32,) * 17, "some": len(set(largest)) > 5}[
        expected
    ]
    np.testing.assert_array_equal(grid.peak_reserved_bytes[grid.is_replayed], reserved[grid.is_replayed])


def test_the_rest_is_interpolated_between_eight_supports_of_an_axis():
    batch_sizes, lengths = list(range(1, 33)), list(range(64, 1089, 64))
    model = size_model(100, 40_000, 0)
    grid = grid_of(model, batch_sizes, lengths)
    reserved, _ = brute_force(model, batch_sizes, lengths)
    assert not grid.is_replayed.all()
    rows, columns = (np.flatnonzero(grid.is_replayed[:, :].sum(axis) >= 8) for axis in (1, 0))
    assert {0, len(batch_sizes) - 1} <= set(rows)
    assert {0, len(lengths) - 1} <= set(columns)
    # It is all but linear in either, but for what segments round up.
    np.testing.assert_allclose(grid.peak_reserved_bytes, reserved, atol=25 * MIB)
    assert np.all(np.diff(grid.peak_reserved_bytes[:, -1]) >= 0)


@pytest.mark.parametrize(
    ("batch_sizes", "lengths", "name"),
    [([], [1], "batch_sizes"), ([1], [], "lengths"), ([2, 1], [1], "batch_sizes"), ([1], [3, 3], "lengths")],
)
def test_axes_must_ascend(batch_sizes, lengths, name):
    with pytest.raises(ValueError, match=f"^{name} must ascend and not be empty$"):
        grid_of(size_model(1, 1, 0), batch_sizes, lengths)


def test_a_card_of_which_nothing_is_known_is_refused():
    gpu = dataclasses.replace(GPU, sm_count=None)
    with pytest.raises(NotPossibleError, match="no source gives the CUDA context of NVIDIA X1"):
        memory_grid(size_model(1, 1, 0), SPEC, gpu, batch_sizes=[1], lengths=[1])
