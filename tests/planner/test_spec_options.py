import click
import pytest
from click.testing import CliRunner

from planner.cli.spec_options import spec_from_options, spec_options
from profiler.errors import UsageError
from profiler.spec import TrialSpec


@pytest.fixture
def spec():
    """Call this with the words of a command line; it returns the trial."""
    made = []

    @click.command()
    @spec_options
    def command(model, settings):
        made.append((settings, spec_from_options(model, settings)))

    def parse(*arguments):
        result = CliRunner().invoke(command, arguments)
        if result.exception is not None:
            raise result.exception
        settings, spec = made.pop()
        parse.settings = settings
        return spec

    parse.command = command
    return parse


def test_only_what_was_given_reaches_the_trial(spec):
    assert spec("gpt2") == TrialSpec.parse({"model": "gpt2"})
    assert spec.settings == {}
    spec("gpt2", "--batch-size", "1")
    assert spec.settings == {"batch_size": 1}


def test_every_field_has_its_flag_and_the_help_its_default(spec):
    out = CliRunner().invoke(spec.command, ["--help"], terminal_width=100).output
    flags = {"method_options": "--method-option "}
    for name, field in TrialSpec.model_fields.items():
        if name in ("model", "model_fingerprint"):
            continue
        assert f"{flags.get(name, '--' + name.replace('_', '-'))}" in out
        if isinstance(field.default, int) and not isinstance(field.default, bool):
            assert f"[default: {field.default}]" in " ".join(out.split())
    assert "model-fingerprint" not in out
    assert "adamw-fused" in out


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--method", "lora", "--method-option", "r=32"], {"method": "lora", "method_options": {"r": 32}}),
        (
            [
                "--method-option",
                'target_modules=["c_attn"]',
                "--method-option",
                "bias=all",
                "--method",
                "lora",
            ],
            {"method": "lora", "method_options": {"target_modules": ["c_attn"], "bias": "all"}},
        ),
        (["--no-padding-mask", "--compile"], {"padding_mask": False, "compile": True}),
        (["--use-cache", "false"], {"use_cache": False}),
        (["--use-cache", "auto"], {"use_cache": "auto"}),
        (["--max-grad-norm", "0.5"], {"max_grad_norm": 0.5}),
        (["--lengths", "[128, 64]"], {"lengths": [128, 64]}),
        (["--lengths", '{"128": 3}', "--packing"], {"lengths": {"128": 3}, "packing": True}),
        (["--evaluation-batch-size", "4"], {"evaluation_batch_size": 4}),
        (["--precision", "amp-bf16", "--optimizer", "sgd"], {"precision": "amp-bf16", "optimizer": "sgd"}),
    ],
)
def test_flags_are_the_settings_of_a_file(spec, arguments, settings):
    assert spec("gpt2", *arguments) == TrialSpec.parse({"model": "gpt2", **settings})
    assert spec.settings == settings


def test_lengths_come_from_a_file(spec, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"length": 5}\n5\n7\n')
    assert dict(spec("gpt2", "--lengths-from", str(tmp_path / "data.jsonl")).lengths) == {"5": 2, "7": 1}


@pytest.fixture
def trial_file(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text("model: gpt2\nmethod: lora\nmethod_options: {r: 4, lora_alpha: 8}\nbatch_size: 2\n")
    return str(path)


def test_flags_override_a_file(spec, trial_file):
    assert spec(trial_file).batch_size == 2
    changed = spec(trial_file, "--batch-size", "8", "--method-option", "r=16")
    assert changed.batch_size == 8
    assert changed.method_options == {"r": 16, "lora_alpha": 8}


def test_another_method_starts_without_the_files_options(spec, trial_file):
    assert spec(trial_file, "--method", "bitfit").method_options == {}
    assert spec(trial_file, "--method", "lora").method_options["r"] == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gtp2"], "unknown model 'gtp2'; did you mean gpt2"),
        (["gpt2", "--method", "lorra"], "did you mean lora"),
        (["gpt2", "--method-option", "r"], "--method-option must be NAME=VALUE, such as r=32, not 'r'"),
        (["gpt2", "--method", "lora", "--method-option", "rank=3"], "rank"),
        (["gpt2", "--method-option", "target_modules=[q"], "is not JSON"),
        (["gpt2", "--batch-size", "0"], "batch_size must be at least 1, not 0"),
        (["gpt2", "--lengths", "[1"], "--lengths must be JSON"),
        (["gpt2", "--lengths", "[1]", "--lengths-from", "x"], "not both"),
        (["missing.yaml"], "cannot read missing.yaml"),
    ],
)
def test_mistakes_are_sentences(spec, arguments, sentence):
    with pytest.raises(UsageError) as caught:
        spec(*arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_is_not_a_trial(spec, tmp_path):
    (tmp_path / "s.yaml").write_text("grid: {model: [gpt2]}\n")
    with pytest.raises(UsageError, match="is a sweep, it has grid: run it with 'sizeup sweep"):
        spec(str(tmp_path / "s.yaml"))
