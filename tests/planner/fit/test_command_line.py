import shlex

import click
import hypothesis
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.spec_options import spec_from_options, spec_options
from planner.fit import command_line
from profiler.errors import UsageError
from profiler.spec import TrialSpec
from tests.tiny_models import write_model


def parsed(line):
    """Return the trial that a command line describes."""
    made = []

    @click.command()
    @spec_options
    def command(model, settings):
        made.append(spec_from_options(model, settings))

    program, _, *words = shlex.split(line)
    assert program == "sizeup"
    result = CliRunner().invoke(command, words)
    if result.exception is not None:
        raise result.exception
    return made.pop()


# Options of lora that take any text, so that every way of quoting is met.
TEXTS = st.one_of(
    st.sampled_from(["5", "true", "null", "", " ", '"a"', "[x", "a=b", "it's", "NaN"]),
    st.text(st.sampled_from("a0=[]{}\"'\\ $;-.\né"), max_size=6),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "r": st.integers(1, 64),
        "lora_dropout": st.sampled_from([0.0, 0.05, 0.1]),
        "target_modules": st.one_of(TEXTS, st.lists(TEXTS)),
        "use_dora": st.booleans(),
        "rank_pattern": st.dictionaries(TEXTS, st.integers(1, 8), max_size=2),
    },
)
CHOSEN = (
    "task", "quantization", "double_quant", "kbit_prepare", "precision", "optimizer",
    "gradient_checkpointing", "reentrant", "attention", "padding_mask", "loss_kernel", "use_cache",
    "compile", "loop", "allocator", "parallel", "save",
)  # fmt: skip
VALUES = {
    "task": ["causal-lm", "sequence-classification"],
    "quantization": ["none", "int8", "nf4"],
    "precision": ["bf16", "amp-bf16", "fp32"],
    "optimizer": ["adamw", "adamw-8bit", "lora-plus"],
    "gradient_checkpointing": ["none", "full"],
    "attention": ["auto", "eager", "flash-attention-2"],
    "loss_kernel": ["standard", "liger"],
    "use_cache": ["auto", True, False],
    "loop": ["trainer", "raw"],
    "allocator": ["default", "expandable"],
    "parallel": ["none", "ddp"],
}
SETTINGS = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt2", "HuggingFaceTB/SmolLM2-135M", "some-org/Not_In.Catalogue"])},
    optional={
        **{name: st.sampled_from(VALUES.get(name, [True, False])) for name in CHOSEN},
        "batch_size": st.integers(1, 10**6),
        "sequence_length": st.integers(1, 10**6),
        "lengths": st.one_of(
            st.lists(st.integers(1, 999), min_size=1, max_size=3),
            st.dictionaries(st.integers(1, 999).map(str), st.integers(1, 9), min_size=1, max_size=3),
        ),
        "max_grad_norm": st.floats(0, 1e6),
        "empty_cache_every": st.integers(0, 9),
        "evaluation_batch_size": st.integers(1, 64),
    },
)


@hypothesis.settings(deadline=None)
@given(settings=SETTINGS, options=OPTIONS)
def test_a_command_line_says_exactly_its_trial(settings, options):
    spec = TrialSpec.parse({**settings, "method": "lora", "method_options": options})
    assert parsed(command_line(spec)) == spec


@pytest.mark.parametrize("method", ["full", "prefix-tuning", "freeze", "cpt"])
def test_options_that_a_method_needs_are_said(method):
    spec = TrialSpec.parse({"model": "gpt2", "method": method})
    assert parsed(command_line(spec)) == spec


def test_a_folder_is_a_model(tmp_path):
    (tmp_path / "my models").mkdir()
    spec = TrialSpec.parse({"model": write_model(tmp_path / "my models", "vit"), "batch_size": 3})
    assert parsed(command_line(spec)) == spec


def test_what_goes_without_saying_is_not_said():
    spec = TrialSpec.parse({"model": "gpt2", "method": "lora", "batch_size": 4})
    line = command_line(spec, "fit", ["--gpu", "l40s"])
    assert line == f"sizeup fit {spec.model} --method lora --batch-size 4 --gpu l40s"


def test_a_model_that_is_gone_says_its_task(tmp_path):
    folder = write_model(tmp_path, "llama")
    spec = TrialSpec.parse({"model": folder})
    (tmp_path / "llama" / "config.json").unlink()
    assert "--task causal-lm" in command_line(spec)
    with pytest.raises(UsageError):
        parsed(command_line(spec))
