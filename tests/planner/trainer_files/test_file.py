import subprocess
import sys

import pytest

from planner.trainer_files import read_trainer_file
from planner.trainer_files.file import FORMATS
from profiler.errors import UsageError
from profiler.spec import TrialSpec


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.yaml", "", "x.yaml is empty"),
        ("x.json", " \n", "x.json is empty"),
        ("x.yaml", "- a\n- b\n", "must hold settings"),
        ("x.json", "[1]", "must hold a mapping of settings, not [1]"),
        ("x.yaml", "a: b: c\n", "x.yaml, line 1, column 5"),
        ("x.json", '{"a": }', "x.json, line 1, column 7"),
        ("x.json", "[" * 100_000, "x.json is nested too deeply"),
        ("x.yaml", "hello: world\n", "is no file of axolotl, LLaMA-Factory, TRL or transformers"),
        # Their neighbours, which share some keys: DeepSpeed, accelerate, mergekit.
        (
            "x.json",
            '{"gradient_accumulation_steps": "auto", "zero_optimization": {"stage": 3}}',
            "is no file of",
        ),
        ("x.yaml", "compute_environment: LOCAL_MACHINE\nfsdp_config: {}\ndebug: false\n", "is no file of"),
        ("x.yaml", "merge_method: linear\nbase_model: gpt2\ndtype: bfloat16\n", "is no file of"),
    ],
)
def test_refuses_with_a_sentence(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        read_trainer_file(path)
    assert says in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["gone.yaml", "gone.json"])
def test_refuses_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(UsageError, match=r"cannot read .*gone"):
        read_trainer_file(tmp_path / name)


@pytest.mark.parametrize("name", ["x.yaml", "x.json"])
def test_refuses_what_is_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        read_trainer_file(tmp_path / name)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
class TestTables:
    def test_no_key_is_in_two_lists(self, kind):
        rules, other = kind.known_keys, kind.other_keys
        assert not rules & other.without_effect
        assert not rules & set(other.unmapped)
        assert not other.without_effect & set(other.unmapped)

    def test_rules_decide_fields_of_a_trial(self, kind):
        fields = [field for rule in kind.rules for field in rule.fields]
        assert set(fields) <= set(TrialSpec.model_fields)
        assert len(fields) == len(set(fields))

    def test_every_mark_is_a_known_key(self, kind):
        other = kind.other_keys
        assert kind.marks <= kind.known_keys | other.without_effect | set(other.unmapped)


def test_every_training_argument_is_known():
    import dataclasses

    from transformers import TrainingArguments

    kind = next(kind for kind in FORMATS if kind.name == "hugging-face")
    known = kind.known_keys | kind.other_keys.without_effect | set(kind.other_keys.unmapped)
    assert {field.name for field in dataclasses.fields(TrainingArguments) if field.init} - known == set()


def test_defaults_are_those_of_the_installed_libraries():
    import peft
    from transformers import TrainingArguments

    from planner.trainer_files.adapters import OPTION_DEFAULTS
    from planner.trainer_files.trainer_arguments import DEFAULT_OPTIMIZER

    fields = TrainingArguments.__dataclass_fields__
    assert fields["optim"].default == DEFAULT_OPTIMIZER
    assert fields["per_device_train_batch_size"].default == 8
    assert fields["per_device_eval_batch_size"].default == 8
    assert fields["use_cache"].default is False
    for config, method in ((peft.LoraConfig(), "lora"), (peft.OFTConfig(), "oft")):
        assert {name: getattr(config, name) for name in OPTION_DEFAULTS[method]} == OPTION_DEFAULTS[method]


def test_reading_imports_no_torch():
    code = "import sys, planner.trainer_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
