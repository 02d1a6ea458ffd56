import pytest

from planner.fit import fit
from planner.fit.changes import combined_changes, single_changes, smaller_batches
from planner.fit.sizes import LargestSizes
from planner.fit.suggestions import MOST, Tried, best
from profiler.spec import TrialSpec
from tests.planner.fit.invented import MIB, InventedTracer


def spec(**settings):
    return TrialSpec.parse({"model": "llama-3.2-1b", "method": "lora", **settings})


def words(changes):
    return [change.words for change in changes]


def test_changes_are_ranked_by_how_little_they_change():
    trial = spec(batch_size=8, attention="eager", sequence_length=1024)
    changes = single_changes(trial, LargestSizes(batch_size=4, sequence_length=512))
    assert words(changes) == [
        "PyTorch's own attention kernels (sdpa)",
        "expandable segments of the allocator",
        "fused loss (liger)",
        "gradient checkpointing",
        "batch size 4 with accumulation 2",
        "batch size 2 with accumulation 4",
        "8-bit optimizer (adamw-8bit)",
        "frozen weights in 4 bits (QLoRA): nf4",
        "sequences of 512 tokens",
    ]


def test_what_is_so_already_is_no_change():
    trial = spec(
        method="qlora", gradient_checkpointing="full", optimizer="adamw-8bit", loss_kernel="liger",
        allocator="expandable",
    )  # fmt: skip
    assert single_changes(trial, None) == []


def test_full_training_has_no_frozen_weights_to_quantise():
    assert not any("quantization" in change.kinds for change in single_changes(spec(method="full"), None))


def test_a_length_that_leaves_little_of_the_data_is_no_change():
    sizes = LargestSizes(batch_size=1, sequence_length=64)
    assert not any("length" in change.kinds for change in single_changes(spec(), sizes))


@pytest.mark.parametrize(
    ("batch_size", "sizes", "expected"),
    [
        (12, LargestSizes(batch_size=5, sequence_length=None), [4, 3]),
        (7, LargestSizes(batch_size=6, sequence_length=None), [1]),
        (8, LargestSizes(batch_size=None, sequence_length=None), []),
        (8, None, [4, 1]),
        (2, None, [1]),
        (1, None, []),
    ],
)
def test_smaller_batches_divide_the_batch(batch_size, sizes, expected):
    assert smaller_batches(batch_size, sizes) == expected


def test_accumulation_keeps_the_whole_batch():
    trial = spec(batch_size=12, gradient_accumulation=2)
    for change in single_changes(trial, None):
        changed = change.applied_to(trial)
        assert changed.batch_size * changed.gradient_accumulation == 24


def test_combinations_have_checkpointing_in_common():
    trial = spec(batch_size=4, method="full")
    combined = combined_changes(trial, single_changes(trial, None), 1)
    assert all("checkpointing" in change.kinds for change in combined)
    assert words(combined)[0] == "fused loss (liger) + gradient checkpointing"
    assert "gradient checkpointing + batch size 1 with accumulation 4" in words(combined)
    assert [change.rank for change in combined] == sorted(change.rank for change in combined)


def tried(change, peak, *, fits):
    return Tried(change=change, spec=spec(), peak_process_bytes=peak, fits=fits)


SINGLE = {next(iter(c.kinds)): c for c in single_changes(spec(attention="eager", batch_size=2), None)}


def test_what_saves_nothing_is_dropped():
    attempts = [tried(SINGLE["checkpointing"], 99, fits=False), tried(SINGLE["batch"], 40, fits=False)]
    assert best(attempts, most_bytes=90) == attempts[1:]


def test_a_combination_of_which_a_part_fits_is_dropped():
    pairs = combined_changes(spec(batch_size=2), list(SINGLE.values()), 1)
    pair = next(change for change in pairs if "batch" in change.kinds)
    attempts = [tried(pair, 10, fits=True), tried(SINGLE["batch"], 40, fits=True)]
    assert best(attempts, most_bytes=90) == attempts[1:]


def test_what_fits_comes_first_when_there_are_too_many():
    attempts = [tried(change, 50, fits=kind == "quantization") for kind, change in SINGLE.items()]
    chosen = best(attempts, most_bytes=90)
    assert len(attempts) > len(chosen) == MOST
    assert any(attempt.fits for attempt in chosen)


def test_if_nothing_fits_the_nearest_combination_says_how_far_it_is():
    pair, *_ = combined_changes(spec(batch_size=2), list(SINGLE.values()), 1)
    attempts = [tried(SINGLE["checkpointing"], 70, fits=False), tried(pair, 60, fits=False)]
    assert best(attempts, most_bytes=90) == attempts


def test_a_fit_needs_no_suggestions():
    answer = fit(spec(), "t4", tracer=InventedTracer())
    assert (answer.verdict, answer.suggestions) == ("fits", ())


def test_every_suggestion_has_its_own_figures():
    trial = spec(batch_size=32, sequence_length=1024)  # 32 GiB of activations
    tracer = InventedTracer()
    answer = fit(trial, "t4", tracer=tracer)
    assert answer.verdict == "does_not_fit"
    by_kind = {suggestion.change: suggestion for suggestion in answer.suggestions}
    assert list(by_kind) == [
        "gradient checkpointing", "batch size 8 with accumulation 4", "sequences of 448 tokens",
    ]  # fmt: skip
    for suggestion in answer.suggestions:
        assert suggestion.fits
        assert suggestion.peak_process_bytes < answer.peak_process_bytes
        again = fit(suggestion.spec, "t4", tracer=tracer, suggest=False)
        assert again.peak_process_bytes == suggestion.peak_process_bytes


def test_combinations_are_tried_when_no_single_change_suffices():
    def quadratic(spec):
        size = 40 * 1024 * MIB * spec.batch_size
        return size // 8 if spec.gradient_checkpointing == "full" else size

    answer = fit(spec(batch_size=4), "t4", tracer=InventedTracer(quadratic))
    fitting = [suggestion.change for suggestion in answer.suggestions if suggestion.fits]
    assert fitting == ["gradient checkpointing + batch size 1 with accumulation 4"]


def test_a_shorter_sequence_alone_is_no_reason_to_stop():
    def by_length(spec):
        size = 64 * MIB * spec.sequence_length
        return size // 2 if spec.gradient_checkpointing == "full" and spec.quantization == "nf4" else size

    answer = fit(spec(sequence_length=256), "t4", tracer=InventedTracer(by_length))
    fitting = [suggestion.change for suggestion in answer.suggestions if suggestion.fits]
    assert fitting == [
        "gradient checkpointing + frozen weights in 4 bits (QLoRA): nf4", "sequences of 224 tokens",
    ]  # fmt: skip


@pytest.mark.parametrize(("trainable", "is_tried"), [(1000, False), (10**9, True)])
def test_an_optimizer_without_states_to_speak_of_is_not_tried(trainable, is_tried):
    tracer = InventedTracer(trainable=trainable)
    fit(spec(batch_size=32, sequence_length=1024), "t4", tracer=tracer)
    assert any(traced.optimizer == "adamw-8bit" for traced in tracer.traced) is is_tried
