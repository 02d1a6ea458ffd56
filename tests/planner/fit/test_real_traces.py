"""The few things that only real traces can show; one process imports torch for all of them."""

import json

import pytest

from estimators.memory import estimate_memory
from estimators.symbolic.tracer import Tracer
from estimators.target import Target
from planner.fit import fit
from profiler.catalog import find_gpu
from profiler.errors import NotPossibleError
from profiler.spec import TrialSpec
from tests.tiny_models import CONFIGS, write_model

T4 = find_gpu("t4")


@pytest.fixture(scope="module")
def tracer():
    with Tracer() as used:
        yield used


@pytest.fixture
def spec(tmp_path):
    """Call this with the name of a tiny model and settings."""

    def parse(name="llama", **settings):
        return TrialSpec.parse({"model": write_model(tmp_path, name), **settings})

    return parse


@pytest.mark.parametrize("loop", ["trainer", "raw"])
def test_two_micro_batches_stand_for_more(spec, tracer, loop):
    trial = spec(batch_size=8, sequence_length=128, loop=loop)
    peaks = set()
    for accumulation in (2, 5):
        changed = trial.with_changes(gradient_accumulation=accumulation)
        estimate = estimate_memory(tracer.trace(changed, Target.of(T4)), changed, T4)
        peaks.add((estimate.peak_allocated_bytes, estimate.peak_reserved_bytes))
    assert len(peaks) == 1


def test_what_is_suggested_fits_when_asked_about(spec, tracer):
    answer = fit(spec(method="lora", batch_size=8192), T4, tracer=tracer)
    assert answer.verdict == "does_not_fit"
    fitting = [suggestion for suggestion in answer.suggestions if suggestion.fits]
    assert fitting
    again = fit(fitting[0].spec, T4, suggest=False, tracer=tracer)
    assert (again.verdict, again.peak_process_bytes) == ("fits", fitting[0].peak_process_bytes)
    assert again.largest_batch_size >= fitting[0].spec.batch_size


def test_learned_positions_end_the_longest_sequence(tmp_path, tracer):
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIGS["gpt2"], "n_positions": 512}))
    answer = fit(TrialSpec.parse({"model": str(folder), "sequence_length": 64}), T4, tracer=tracer)
    assert answer.longest_sequence == 512


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("gpt2", {"sequence_length": 4096}, "64 positions"),
        ("llama", {"method": "lora", "method_options": {"target_modules": ["nope"]}}, "nope"),
        ("llama", {"method": "prefix-tuning", "gradient_checkpointing": "full"}, "checkpointing"),
    ],
)
def test_impossible_trials_are_refused_in_a_sentence(spec, tracer, name, settings, sentence):
    with pytest.raises(NotPossibleError, match=sentence) as caught:
        fit(spec(name, **settings), T4, tracer=tracer)
    assert "\n" not in str(caught.value)
