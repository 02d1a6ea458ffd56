"""Features of traced trials: their sums, sizes that were not traced, and the cache."""

import dataclasses

import pytest

from estimators.features import CATEGORIES, NUMBERS, FeatureSource, Place
from estimators.features.totals import step_totals
from estimators.memory import peak_tensor_bytes
from estimators.target import Target
from profiler.catalog import find_gpu
from profiler.errors import NotPossibleError
from tests.estimators.learned import world

HERE = Place.of("cpu", world.FACTS)
CARD = Place.on(find_gpu("a100-sxm-80gb"), world.FACTS)


class NoTracer:
    """A tracer that must not be asked."""

    def trace_all(self, requests):
        raise AssertionError(f"{len(requests)} traces were asked for")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "cache"))


def test_sums_of_a_trace(tracer, trial):
    spec = trial(method="lora", precision="bf16")
    (row,) = FeatureSource(tracer).rows([(spec, HERE)])
    assert set(row.numbers) <= set(NUMBERS)
    assert set(row.categories) <= set(CATEGORIES)
    assert row.numbers["tokens_per_step"] == spec.batch_size * spec.sequence_length
    assert row.numbers["predicted_allocated_bytes"] == peak_tensor_bytes(tracer.trace(spec, Target.cpu()))
    assert row.numbers.get("predicted_reserved_bytes") is None
    assert 0 < row.numbers["trainable_parameters"] < row.numbers["total_parameters"]
    parts = row.numbers["operators_backward"] + row.numbers["operators_optimizer"]
    assert 0 < parts < row.numbers["operators"]


def test_a_gpu_has_segments_and_rates(tracer, trial):
    spec = trial(method="lora", precision="bf16")
    (row,) = FeatureSource(tracer).rows([(spec, CARD)])
    assert row.numbers["predicted_reserved_bytes"] > row.numbers["predicted_allocated_bytes"]
    assert row.numbers["memory_seconds"] == pytest.approx(
        row.numbers["bytes_moved"] / row.numbers["bandwidth_bytes_per_second"]
    )


def test_many_micro_batches_follow_from_one_and_two(tracer, trial, cache):
    settings = {"method": "lora", "precision": "bf16"}
    many = trial(gradient_accumulation=5, **settings)
    (found,) = FeatureSource(tracer).rows([(many, HERE)])
    counts = [
        FeatureSource(tracer).rows([(trial(gradient_accumulation=count, **settings), HERE)])[0].numbers
        for count in (1, 2)
    ]
    for name in ("operators", "flops_other", "bytes_moved"):
        one, two = (of_count[name] for of_count in counts)
        assert found.numbers[name] == pytest.approx(two + 3 * (two - one))


def test_sizes_that_were_not_traced_are_as_if_traced(tracer, trial, cache):
    spec = trial(method="lora", padding_mask=False)
    sizes = [(batch, 128 * blocks) for batch in (5, 6, 8) for blocks in (5, 7, 9)]
    specs = [spec.with_changes(batch_size=batch, sequence_length=length) for batch, length in sizes]
    found = FeatureSource(tracer).rows([(one, CARD) for one in specs])
    for one, row in list(zip(specs, found, strict=True))[::4]:
        traced = step_totals(tracer.trace(one, CARD.target), one, CARD.target)
        for name, value in dataclasses.asdict(traced).items():
            assert row.numbers[name] == pytest.approx(value, rel=1e-6), name


def test_what_was_found_is_not_traced_again(tracer, trial, cache):
    asked = [(trial(method="lora"), HERE), (trial(method="full"), HERE)]
    found = FeatureSource(tracer).rows(asked)
    assert FeatureSource(NoTracer()).rows(asked) == found


def test_what_cannot_be_traced_is_an_error_of_its_own(tracer, trial, cache):
    refused, fine = FeatureSource(tracer).rows(
        [(trial(parallel="ddp", world_size=2), HERE), (trial(method="lora"), HERE)]
    )
    assert isinstance(refused, NotPossibleError)
    assert fine.numbers["operators"] > 0


def test_many_sizes_of_what_a_library_refuses_take_one_trace(tracer, trial, cache):
    class Counting:
        asked = 0

        def trace_all(self, requests):
            self.asked += len(requests)
            return tracer.trace_all(requests)

    counting = Counting()
    specs = [trial(parallel="ddp", world_size=2, batch_size=size) for size in range(1, 12)]
    found = FeatureSource(counting).rows([(one, HERE) for one in specs])
    assert all(isinstance(one, NotPossibleError) for one in found)
    assert counting.asked == 1
