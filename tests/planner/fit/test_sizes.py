import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.fit.sizes import largest, largest_sizes, number_of_length, rounded_length
from profiler.catalog import find_gpu
from profiler.catalog.gpu_memory import gpu_memory
from profiler.errors import NotPossibleError
from profiler.spec import TrialSpec
from tests.planner.fit.invented import MIB, RESIDUALS, InventedTracer

T4 = find_gpu("t4")


@given(edge=st.integers(0, 300), start=st.integers(1, 400), wrong=st.integers(-40, 40))
def test_the_largest_is_found_whatever_is_probable(edge, start, wrong):
    asked = []

    def surely(number):
        asked.append(number)
        return number <= edge

    found = largest(lambda number: number <= edge + wrong, surely, start=start, limit=200)
    expected = min(edge, edge + max(wrong, 0) if wrong >= 0 else edge + wrong, 200)
    assert found == (expected if expected > 0 else None)
    assert len(asked) <= 16


def test_one_sure_question_is_enough_when_the_probable_is_right():
    asked = []
    assert largest(lambda n: n <= 137, lambda n: asked.append(n) or n <= 137, start=4, limit=1000) == 137
    assert asked == [137]


def test_lengths_are_multiples_of_32_then_of_64():
    lengths = [rounded_length(number) for number in range(1, 20)]
    assert lengths[:2] == [32, 64]
    assert lengths[15:] == [512, 576, 640, 704]


@given(st.integers(1, 100_000))
def test_a_length_is_rounded_down(length):
    number = number_of_length(length)
    assert (rounded_length(number) if number else 0) <= length < rounded_length(number + 1)


def spec(**settings):
    return TrialSpec.parse({"model": "llama-3.2-1b", "method": "lora", "sequence_length": 512, **settings})


def test_what_is_found_fits_and_the_next_does_not():
    tracer = InventedTracer()
    sizes = largest_sizes(spec(), T4, tracer)
    room = 14 * 1024 * MIB  # of the 14.5 GiB that torch sees of a T4, less context and residuals
    assert sizes.batch_size == pytest.approx(room / (512 * MIB), abs=1)
    assert sizes.sequence_length == pytest.approx(room / MIB, rel=0.05)
    assert sizes.sequence_length % 64 == 0
    direct = {(traced.batch_size, traced.sequence_length) for traced in tracer.traced}
    assert {(sizes.batch_size, 512), (1, sizes.sequence_length)} <= direct


def test_positions_end_the_search():
    assert largest_sizes(spec(), T4, InventedTracer(positions=2048)).sequence_length == 2048


def test_nothing_fits_a_model_that_is_too_large():
    tracer = InventedTracer(lambda spec: 20 * 1024 * MIB + spec.batch_size)
    sizes = largest_sizes(spec(), T4, tracer)
    assert (sizes.batch_size, sizes.sequence_length) == (None, None)


def test_a_length_that_fits_is_not_rounded_away():
    room = gpu_memory(T4).room_bytes_range[0] / (1 + RESIDUALS.high)
    tracer = InventedTracer(lambda spec: spec.sequence_length * int(room / 1000))
    assert largest_sizes(spec(sequence_length=980), T4, tracer).sequence_length == 980
    assert largest_sizes(spec(sequence_length=900), T4, tracer).sequence_length == 960


def test_images_have_a_batch_only():
    sizes = largest_sizes(
        TrialSpec.parse({"model": "vit-base"}), T4, InventedTracer(lambda spec: 512 * MIB * spec.batch_size)
    )
    assert sizes.batch_size == pytest.approx(28, abs=1)
    assert sizes.sequence_length is None


def test_varying_lengths_have_no_one_size():
    with pytest.raises(NotPossibleError):
        largest_sizes(spec(lengths=[512, 64]), T4, InventedTracer())
