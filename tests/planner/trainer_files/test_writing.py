import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.trainer_files import read_trainer_file, write_trainer_file
from profiler.errors import UsageError
from profiler.spec import TrialSpec

KINDS = ("axolotl", "llama-factory", "trl", "hugging-face")
LORA = {"r": 64, "lora_alpha": 128, "target_modules": "all-linear"}


@pytest.fixture
def written(example, tmp_path):
    """Write an example with changes; return the lines, the new text and the trial it means."""

    def written(kind, **changes):
        source, spec = example(kind)
        target = tmp_path / f"new{source.path.suffix}"
        lines = write_trainer_file(source, spec.with_changes(**changes), target)
        return lines, target.read_text(encoding="utf-8"), TrialSpec.parse(read_trainer_file(target).settings)

    return written


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_change_the_text_is_the_same(example, written, kind):
    source, spec = example(kind)
    lines, text, again = written(kind)
    assert (lines, text, again) == ([], source.path.read_text(encoding="utf-8"), spec)


def test_lines_change_and_comments_stay(example, written):
    source, _ = example("axolotl")
    lines, text, _ = written("axolotl", batch_size=2, gradient_accumulation=4, reentrant=False)
    assert lines == [
        "micro_batch_size: 4 -> 2",
        "gradient_accumulation_steps: 2 -> 4",
        'gradient_checkpointing_kwargs: {"use_reentrant": false} (added)',
        "eval_batch_size: 4 (added)",  # it would have followed micro_batch_size
    ]
    before = source.path.read_text(encoding="utf-8")
    expected = before.replace("micro_batch_size: 4 ", "micro_batch_size: 2 ").replace(
        "_steps: 2", "_steps: 4"
    )
    assert text == expected + "gradient_checkpointing_kwargs:\n  use_reentrant: false\neval_batch_size: 4\n"


# What `fit` advises, and what each format says for it.
ADVICE = [
    ("axolotl", {"gradient_checkpointing": "none"}, ["gradient_checkpointing: true -> false"]),
    ("llama-factory", {"gradient_checkpointing": "none"}, ["disable_gradient_checkpointing: true (added)"]),
    ("trl", {"gradient_checkpointing": "none"}, ["gradient_checkpointing: false (added)"]),
    ("axolotl", {"optimizer": "adamw-8bit"}, ["optimizer: paged_adamw_8bit -> adamw_bnb_8bit"]),
    ("llama-factory", {"optimizer": "lora-plus"}, ["loraplus_lr_ratio: 16.0 (added)"]),
    ("hugging-face", {"optimizer": "adamw"}, ["optim: adafactor -> adamw_torch"]),
    ("hugging-face", {"precision": "fp32"}, ["bf16: true -> false", "dtype: float32 (added)"]),
    ("llama-factory", {"sequence_length": 512}, ["cutoff_len: 1024 -> 512"]),
    ("trl", {"sequence_length": 512}, ["max_length: 2048 -> 512"]),
    ("hugging-face", {"sequence_length": 256}, ["block_size: 512 -> 256"]),
    ("llama-factory", {"loss_kernel": "liger"}, ["enable_liger_kernel: true (added)"]),
    ("trl", {"loss_kernel": "liger"}, ["use_liger_kernel: true (added)"]),
    ("axolotl", {"loss_kernel": "liger"},
     ['plugins: ["axolotl.integrations.liger.LigerPlugin"] (added)',
      "liger_fused_linear_cross_entropy: true (added)"]),
    ("trl", {"quantization": "nf4"}, ["load_in_4bit: true (added)"]),
    ("trl", {"quantization": "fp4", "double_quant": True},
     ["load_in_4bit: true (added)", "bnb_4bit_quant_type: fp4 (added)",
      "use_bnb_nested_quant: true (added)"]),
    ("llama-factory", {"quantization": "nf4", "double_quant": True},
     ["quantization_bit: 4 (added)", "kbit_prepare: llama-factory has it false, not true"]),
    ("axolotl", {"quantization": "int8"},
     ["load_in_4bit: true -> false", "adapter: qlora -> lora", "load_in_8bit: true (added)"]),
    ("axolotl", {"double_quant": False},
     ['bnb_config_kwargs: {"bnb_4bit_use_double_quant": false} (added)']),
    ("axolotl", {"attention": "sdpa", "padding_mask": True},
     ["flash_attention: true (taken out)", "sdp_attention: true (added)"]),
    ("trl", {"attention": "sdpa"}, ["attn_implementation: sdpa (added)"]),
    ("llama-factory", {"attention": "eager"}, ["flash_attn: disabled (added)"]),
    ("trl", {"method": "full", "method_options": {}}, ["use_peft: true -> false"]),
    ("trl", {"precision": "bf16"}, ["dtype: bfloat16 (added)"]),
    ("llama-factory", {"method": "full", "method_options": {}},
     ["finetuning_type: lora -> full", "pure_bf16: true (added)"]),
    ("llama-factory", {"method": "freeze", "method_options": {"layers": 3}},
     ["finetuning_type: lora -> freeze", "freeze_trainable_layers: 3 (added)"]),
    ("llama-factory", {"method": "oft", "method_options": {"target_modules": ["q_proj"]}},
     ["finetuning_type: lora -> oft", "oft_target: q_proj (added)"]),
    ("axolotl", {"method_options": {"r": 16, "lora_alpha": 16, "target_modules": ["q_proj"]}},
     ["lora_r: 32 -> 16", "lora_dropout: 0.05 -> 0.0", "lora_target_linear: true -> false",
      'lora_target_modules: ["q_proj"] (added)']),
    ("llama-factory", {"method_options": {**LORA, "modules_to_save": ["lm_head"]}},
     ["lora_rank: 16 -> 64", "lora_target: q_proj, v_proj -> all", "additional_target: lm_head (added)"]),
    ("trl", {"method_options": {"r": 8, "lora_alpha": 8, "use_dora": True, "target_modules": "all-linear"}},
     ['lora_target_modules: ["q_proj", "k_proj"] -> all-linear', "lora_alpha: 8 (added)",
      "lora_dropout: 0.0 (added)", "use_dora: true (added)"]),
    ("axolotl", {"evaluation_batch_size": None}, ["eval_strategy: no (added)"]),
    ("axolotl", {"evaluation_batch_size": 1}, ["eval_batch_size: 1 (added)"]),
    ("trl", {"empty_cache_every": 5}, ["torch_empty_cache_steps: 5 (added)"]),
    ("axolotl", {"compile": True, "max_grad_norm": 0.5, "empty_cache_every": 5},
     ["max_grad_norm: 0.5 (added)", "torch_compile: true (added)", "gc_steps: 5 (added)"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "expected"), ADVICE)
def test_what_a_change_is_called(written, kind, changes, expected):
    lines, _, again = written(kind, **changes)
    assert lines == expected
    for name, value in changes.items():
        assert getattr(again, name) == value or name == "method_options"


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("axolotl", {"allocator": "expandable"}, "a file of axolotl cannot say allocator: expandable"),
        ("axolotl", {"precision": "amp-bf16"}, "cannot say precision: amp-bf16"),
        ("axolotl", {"optimizer": "lora-fa"}, "cannot say optimizer: lora-fa"),
        ("axolotl", {"method_options": {"r": 4}}, "cannot say method_options"),
        ("trl", {"method": "ia3", "method_options": {}}, "cannot say method: ia3"),
        ("trl", {"lengths": {"128": 3, "512": 1}}, "cannot say lengths"),
        ("llama-factory", {"method": "full", "method_options": {}, "precision": "fp16"}, "precision: fp16"),
        ("llama-factory", {"evaluation_batch_size": 2}, "cannot say evaluation_batch_size: 2"),
        ("hugging-face", {"method": "lora"}, "a file of hugging-face cannot say method: lora"),
        ("trl", {"model": "gpt2"}, "trains meta-llama/Llama-3.2-1B, so it cannot be written for"),
    ],
)
def test_what_a_format_cannot_say_is_refused_and_nothing_written(example, tmp_path, kind, changes, says):
    source, spec = example(kind)
    target = tmp_path / f"new{source.path.suffix}"
    with pytest.raises(UsageError) as error:
        write_trainer_file(source, spec.with_changes(**changes), target)
    assert says in str(error.value)
    assert not target.exists()


def test_a_file_without_a_model_is_of_any(read, tmp_path):
    source = read("optim: sgd\nper_device_train_batch_size: 4\n")
    spec = TrialSpec.parse({"model": "gpt2", **source.settings}).with_changes(batch_size=2)
    assert write_trainer_file(source, spec, tmp_path / "new.yaml") == ["per_device_train_batch_size: 4 -> 2"]


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "source"])
def test_nothing_is_overwritten(example, tmp_path, what):
    source, spec = example("trl")
    target = tmp_path / "there.yaml"
    if what == "file":
        target.write_text("mine")
    elif what == "folder":
        target.mkdir()
    elif what == "source":
        target = source.path
    else:
        target.symlink_to(tmp_path / "gone")
    before = source.path.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        write_trainer_file(source, spec.with_changes(batch_size=1), target)
    assert source.path.read_bytes() == before
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/such/new.yaml", "cannot write"),
        ("trl.yaml/new.yaml", "cannot write"),
        ("n" * 5000, "cannot write"),
        ("new\0.yaml", "cannot write"),
        ("new.json", "must be YAML"),
    ],
)
def test_a_target_that_cannot_be_written(example, tmp_path, name, says):
    source, spec = example("trl")
    with pytest.raises(UsageError, match=says):
        write_trainer_file(source, spec, tmp_path / name)


def test_a_source_that_is_gone_is_one_sentence(example, tmp_path):
    source, spec = example("trl")
    source.path.unlink()
    with pytest.raises(UsageError, match="cannot read"):
        write_trainer_file(source, spec, tmp_path / "new.yaml")


def test_a_mapping_in_braces_keeps_its_numbers(read, tmp_path):
    source = read("{optim: sgd, learning_rate: 1e-4, model_name_or_path: gpt2}\n", "given.yaml")
    spec = TrialSpec.parse(source.settings)
    write_trainer_file(source, spec.with_changes(batch_size=2), tmp_path / "new.yaml")
    assert (tmp_path / "new.yaml").read_text() == (
        "optim: sgd\nlearning_rate: 0.0001\nmodel_name_or_path: gpt2\nper_device_train_batch_size: 2\n"
    )


def test_an_anchor_that_would_be_lost_is_refused(read, tmp_path):
    source = read("micro_batch_size: &size 4\neval_batch_size: *size\nbase_model: gpt2\nval_set_size: 0.1\n")
    spec = TrialSpec.parse(source.settings).with_changes(batch_size=2)
    with pytest.raises(UsageError, match="cannot be changed line by line"):
        write_trainer_file(source, spec, tmp_path / "new.yaml")


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.integers(1, 64),
        "gradient_accumulation": st.integers(1, 64),
        "sequence_length": st.integers(1, 8192),
        "gradient_checkpointing": st.sampled_from(["none", "full"]),
        "reentrant": st.booleans(),
        "optimizer": st.sampled_from(["adamw", "adamw-fused", "adamw-8bit", "paged-adamw", "sgd"]),
        "max_grad_norm": st.sampled_from([0.0, 0.5, 1.0]),
        "compile": st.booleans(),
        "loss_kernel": st.sampled_from(["standard", "liger"]),
        "empty_cache_every": st.integers(0, 10),
    },
)
CHANGES_OF_METHOD = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["lora", "full", "freeze", "ia3"]),
        "quantization": st.sampled_from(["none", "nf4", "fp4", "int8"]),
        "double_quant": st.booleans(),
        "precision": st.sampled_from(["bf16", "fp16", "fp32", "amp-bf16", "amp-fp16"]),
        "attention": st.sampled_from(["auto", "sdpa", "eager", "flash-attention-2", "sdpa-math"]),
        "method_options": st.sampled_from([LORA, {}, {"r": 4, "target_modules": ["v_proj", "q_proj"]}]),
    },
)
FIXTURES_ARE_KEPT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(deadline=None, max_examples=40, suppress_health_check=FIXTURES_ARE_KEPT)
@given(kind=st.sampled_from(KINDS), changes=CHANGES)
def test_every_format_says_the_common_changes(example, tmp_path, kind, changes):
    source, spec = example(kind)
    wanted = spec.with_changes(**changes)
    target = tmp_path / f"new{source.path.suffix}"
    target.unlink(missing_ok=True)
    lines = write_trainer_file(source, wanted, target)
    assert TrialSpec.parse(read_trainer_file(target).settings) == wanted
    assert bool(lines) == (wanted != spec)


@settings(deadline=None, max_examples=80, suppress_health_check=FIXTURES_ARE_KEPT)
@given(kind=st.sampled_from(KINDS), common=CHANGES, changes=CHANGES_OF_METHOD)
def test_what_is_written_is_what_was_wanted_or_a_sentence(example, tmp_path, kind, common, changes):
    source, spec = example(kind)
    try:
        wanted = spec.with_changes(**{"method_options": {}, **common, **changes})
    except UsageError:
        return  # no trial at all, such as freeze with a rank
    target = tmp_path / f"new{source.path.suffix}"
    target.unlink(missing_ok=True)
    try:
        write_trainer_file(source, wanted, target)
    except UsageError:
        assert not target.exists()
        return
    again = TrialSpec.parse(read_trainer_file(target).settings)
    settled = {"kbit_prepare", "method_options"}
    assert {k: v for k, v in again.canonical.items() if k not in settled} == {
        k: v for k, v in wanted.canonical.items() if k not in settled
    }
    assert again.method_options.get("r", 8) == wanted.method_options.get("r", 8)
