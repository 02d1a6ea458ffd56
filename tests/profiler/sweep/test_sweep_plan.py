import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.sweep import SweepFile
from profiler.sweep.plan import MAX_TRIALS, is_larger, plan


def planned(**content):
    return plan(SweepFile.parse(content, subject="FILE"))


def refusal(**content):
    with pytest.raises(UsageError) as caught:
        planned(**content)
    return str(caught.value)


def shown(specs, *fields):
    return [tuple(getattr(spec, field) for field in fields) for spec in specs]


def test_product_in_the_order_of_the_file():
    result = planned(
        base={"model": "gpt2", "sequence_length": 64},
        grid={"method": ["lora", "full"], "batch_size": [4, 1]},
        together=[{"precision": "fp32", "optimizer": "sgd"}, {"precision": "bf16", "optimizer": "adamw"}],
    )
    assert shown(result.specs, "method", "batch_size", "precision", "optimizer") == [
        (method, batch_size, *tied)
        for method in ("lora", "full")
        for batch_size in (4, 1)
        for tied in (("fp32", "sgd"), ("bf16", "adamw"))
    ]
    assert {spec.sequence_length for spec in result.specs} == {64}
    assert (result.collapsed, result.left_out) == (0, 0)


def test_several_axes_are_crossed():
    result = planned(
        base={"model": "gpt2"},
        together=[[{"batch_size": 1}, {"batch_size": 2}], [{"precision": "bf16"}, {"precision": "fp32"}]],
    )
    assert shown(result.specs, "batch_size", "precision") == [
        (1, "bf16"), (1, "fp32"), (2, "bf16"), (2, "fp32"),
    ]  # fmt: skip


def test_base_alone_is_one_trial():
    assert planned(base={"model": "gpt2", "method": "lora"}).specs == (
        TrialSpec.parse({"model": "gpt2", "method": "lora"}),
    )


def test_explicit_trials_are_over_base_and_not_crossed():
    result = planned(
        base={"sequence_length": 64},
        grid={"model": ["gpt2", "pythia-70m"]},
        trials=[{"model": "opt-125m", "sequence_length": 32}, {"model": "opt-350m"}],
    )
    assert shown(result.specs, "model", "sequence_length") == [
        ("openai-community/gpt2", 64),
        ("EleutherAI/pythia-70m", 64),
        ("facebook/opt-125m", 32),
        ("facebook/opt-350m", 64),
    ]


def test_explicit_trials_alone_add_no_bare_base():
    assert len(planned(base={"sequence_length": 64}, trials=[{"model": "gpt2"}]).specs) == 1


def test_repeats_are_interleaved():
    result = planned(base={"model": "gpt2"}, grid={"batch_size": [1, 2, 3]}, repeats=2)
    assert [(trial.spec.batch_size, trial.repeat) for trial in result.trials] == [
        (1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2),
    ]  # fmt: skip


def test_spellings_of_one_spec_collapse():
    result = planned(
        grid={"model": ["gpt2", "openai-community/gpt2"], "method": ["qlora", "lora"]},
        trials=[{"model": "GPT2", "method": "lora", "quantization": "nf4"}],
    )
    assert shown(result.specs, "method", "quantization") == [("lora", "nf4"), ("lora", "none")]
    assert result.collapsed == 3


def test_skip_sees_the_finished_spec():
    content = {
        "base": {"model": "gpt2"},
        "grid": {"method": ["qlora", "dora", "full", "lora"]},
    }
    by_written_name = planned(**content, skip='method == "qlora"')
    assert by_written_name.left_out == 0
    assert by_written_name.skips_without_effect == ('method == "qlora"',)
    by_finished_name = planned(
        **content,
        skip=['quantization == "nf4"', "method_options.use_dora == true", "batch_size == 1 and false"],
    )
    assert shown(by_finished_name.specs, "method", "method_options") == [("full", {}), ("lora", {})]
    assert by_finished_name.left_out == 2
    assert by_finished_name.skips_without_effect == ("batch_size == 1 and false",)


def test_a_condition_that_follows_another_has_an_effect_too():
    result = planned(
        base={"model": "gpt2"}, grid={"batch_size": [1, 2]}, skip=["batch_size > 1", "batch_size == 2"]
    )
    assert (result.left_out, result.skips_without_effect) == (1, ())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "FILE: base: model is missing"),
        ({"base": {"model": "gpt3"}}, "FILE: base: unknown model 'gpt3'; did you mean gpt2?"),
        (
            {"base": {"model": "gpt2"}, "grid": {"method": ["full", "lorra"], "batch_size": [1]}},
            "FILE: the combination method=lorra batch_size=1: unknown method 'lorra'; did you mean lora",
        ),
        (
            {"base": {"model": "gpt2"}, "grid": {"batch_size": [1, 0]}},
            "FILE: the combination batch_size=0: the trial: batch_size must be at least 1, not 0",
        ),
        (
            {"grid": {"model": ["gpt2"]}, "trials": [{"model": "gpt2", "method_options": {"r": 2}}]},
            "FILE: the combination model=gpt2 method_options={\"r\":2}: unknown option of full 'r'",
        ),
        (
            {"base": {"model": "gpt2"}, "skip": "batch_size >= 1"},
            "FILE: no trial is left: skip leaves out all 1",
        ),
        (
            {"base": {"model": "gpt2"}, "skip": "model > 3"},
            "FILE: skip: model > 3: cannot compare model (the text 'openai-community/gpt2') with the number",
        ),
        (
            {
                "base": {"model": "gpt2"},
                "grid": {"batch_size": list(range(1, 1001)), "sequence_length": [1] * 101},
            },
            "FILE: it has 101,000 combinations; at most 100,000 are allowed",
        ),
        (
            {"base": {"model": "gpt2"}, "repeats": MAX_TRIALS + 1},
            "FILE: it has 100,001 trials with their repeats; at most 100,000 are allowed",
        ),
    ],
)
def test_refuses_with_a_sentence(content, sentence):
    assert refusal(**content).startswith(sentence)


def test_a_long_combination_is_cut():
    assert (
        len(refusal(base={"model": "gpt2"}, grid={"lengths": [list(range(1, 500))], "method": ["x"]})) < 400
    )


def test_counts_before_it_expands():
    ten = list(range(1, 11))
    axes = ["batch_size", "sequence_length", "gradient_accumulation", "empty_cache_every", "lengths_seed"]
    axes += ["max_grad_norm", "world_size", "evaluation_batch_size"]
    sentence = refusal(base={"model": "gpt2"}, grid=dict.fromkeys(axes, ten * 10))
    assert "10,000,000,000,000,000 combinations" in sentence


@settings(max_examples=100, deadline=None)
@given(
    batch_sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    methods=st.lists(st.sampled_from(["full", "lora", "dora", "qlora"]), min_size=1, max_size=4),
    lengths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    limit=st.integers(0, 5),
    repeats=st.integers(1, 3),
)
def test_every_combination_is_counted_once(batch_sizes, methods, lengths, limit, repeats):
    content = {
        "base": {"model": "gpt2"},
        "grid": {"batch_size": batch_sizes, "method": methods},
        "together": [{"sequence_length": length} for length in lengths],
        "skip": f"batch_size > {limit}",
        "repeats": repeats,
    }
    distinct = set(itertools.product(batch_sizes, methods, lengths))
    kept = {combination for combination in distinct if combination[0] <= limit}
    if not kept:
        assert "no trial is left" in refusal(**content)
        return
    result = planned(**content)
    assert len(set(result.specs)) == len(result.specs) == len(kept)
    assert result.left_out == len(distinct) - len(kept)
    assert result.collapsed == len(batch_sizes) * len(methods) * len(lengths) - len(distinct)
    assert [trial.spec for trial in result.trials] == list(result.specs) * repeats


def test_is_larger():
    small = TrialSpec.parse({"model": "gpt2", "method": "lora", "batch_size": 2})
    assert is_larger(small.with_changes(batch_size=3), than=small)
    assert is_larger(small, than=small.with_changes(batch_size=1))
    assert not is_larger(small, than=small)
    assert not is_larger(small.with_changes(batch_size=1), than=small)
    assert not is_larger(small.with_changes(batch_size=4, sequence_length=64), than=small)
    assert not is_larger(small.with_changes(batch_size=4, method_options={"r": 4}), than=small)
    assert not is_larger(small.with_changes(batch_size=4, model="pythia-70m"), than=small)
