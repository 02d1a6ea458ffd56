import json
from pathlib import Path

import pytest

from profiler.errors import UsageError
from profiler.spec import TrialSpec

CONFIG = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 2, "n_embd": 64}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def write(folder, config):
    text = config if isinstance(config, str | bytes) else json.dumps(config)
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_folder_is_known_by_its_path_and_its_configuration(folder):
    write(folder, CONFIG)
    spec = TrialSpec.parse({"model": str(folder)})
    assert spec.model == str(folder)
    assert spec.canonical == {
        "model": str(folder),
        "task": "causal-lm",
        "model_fingerprint": spec.model_fingerprint,
    }
    assert TrialSpec.from_canonical(spec.canonical) == spec
    assert TrialSpec.parse(spec.canonical) == spec


def test_the_fingerprint_follows_the_content_not_the_spelling(folder):
    write(folder, CONFIG)
    first = TrialSpec.parse({"model": str(folder)})
    write(folder, json.dumps(dict(reversed(CONFIG.items())), indent=2))
    assert TrialSpec.parse({"model": str(folder)}) == first
    write(folder, {**CONFIG, "n_layer": 3})
    assert TrialSpec.parse({"model": str(folder)}) != first


def test_the_fingerprint_is_no_number(folder):
    write(folder, CONFIG)
    fingerprint = TrialSpec.parse({"model": str(folder)}).model_fingerprint
    with pytest.raises(ValueError, match="could not convert"):
        float(fingerprint)


def test_spellings_of_a_path(folder, monkeypatch):
    write(folder, CONFIG)
    spec = TrialSpec.parse({"model": str(folder)})
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for spelling in ("model", "./model", "model/", "../" + folder.parent.name + "/model", "~/model"):
        assert TrialSpec.parse({"model": spelling}) == spec


def test_a_name_of_the_catalogue_is_a_folder_only_if_that_holds_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gpt2").mkdir()
    assert TrialSpec.parse({"model": "gpt2"}).model == "openai-community/gpt2"
    write(Path("gpt2"), CONFIG)
    assert TrialSpec.parse({"model": "gpt2"}).model == str(tmp_path / "gpt2")


def test_infinity_in_a_configuration(folder):
    write(folder, '{"model_type": "mamba2", "time_step_limit": [0.0, Infinity]}')
    assert TrialSpec.parse({"model": str(folder)}).model_fingerprint


@pytest.mark.parametrize(
    ("architectures", "task"),
    [
        (["LlamaForCausalLM"], "causal-lm"),
        (["GPT2LMHeadModel"], "causal-lm"),
        (["BertForMaskedLM"], "sequence-classification"),
        (["BertForSequenceClassification"], "sequence-classification"),
        (["T5ForConditionalGeneration"], "seq2seq-lm"),
        (["ViTForImageClassification"], "image-classification"),
        (["Something"], "causal-lm"),
        ([], "causal-lm"),
        (None, "causal-lm"),
        (5, "causal-lm"),
    ],
)
def test_the_task_is_that_of_the_architecture(folder, architectures, task):
    write(folder, {"model_type": "x", "architectures": architectures})
    assert TrialSpec.parse({"model": str(folder)}).task == task
    assert TrialSpec.parse({"model": str(folder), "task": "seq2seq-lm"}).task == "seq2seq-lm"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "the folder {folder} has no config.json"),
        ("", "{folder}/config.json is empty"),
        ("{", "{folder}/config.json is not valid JSON"),
        (b"\xff", "{folder}/config.json is not valid JSON"),
        ("[" * 100_000, "{folder}/config.json is not valid JSON"),
        ("[]", "{folder}/config.json is not a model configuration: it has no model_type"),
        ("{}", "{folder}/config.json is not a model configuration: it has no model_type"),
        ('{"model_type": 3}', "{folder}/config.json is not a model configuration: it has no model_type"),
    ],
)
def test_refuses_with_a_sentence(folder, config, says):
    if config is not None:
        write(folder, config)
    with pytest.raises(UsageError) as caught:
        TrialSpec.parse({"model": str(folder)})
    assert str(caught.value) == says.format(folder=folder)


def test_a_configuration_that_cannot_be_read(folder):
    (folder / "config.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*config.json: Is a directory"):
        TrialSpec.parse({"model": str(folder)})
