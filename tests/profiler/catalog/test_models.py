"""Tests of the model data, and of finding a model by name; every entry is built, without weights."""

import copy
import re
from collections import Counter

import pytest

from profiler.catalog import find_model, models
from profiler.errors import UsageError
from profiler.spec.normalize import TASK_OF_MODEL

ALL = list(models().values())
each_model = pytest.mark.parametrize("model", ALL, ids=lambda model: model.id)

AUTO_CLASSES = {
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "image-classification": "AutoModelForImageClassification",
    "feature-extraction": "AutoModel",
    "image-feature-extraction": "AutoModel",
    "speech-seq2seq": "AutoModelForSpeechSeq2Seq",
    "zero-shot-image-classification": "AutoModelForZeroShotImageClassification",
}


@each_model
def test_entry(model):
    assert re.fullmatch(r"[\w-]+/[\w.-]+", model.id)
    assert all(re.fullmatch(r"([\w-]+/)?[\w.-]+", alias) for alias in model.aliases)
    assert model.task in AUTO_CLASSES
    assert isinstance(model.config["model_type"], str)
    assert isinstance(model.parameters, int)
    assert model.parameters > 1_000_000
    assert model.source
    assert model.built_parameters is None or 0 < model.built_parameters < model.parameters


@each_model
def test_a_count_that_is_checked_says_against_what_and_one_that_is_not_says_why(model):
    if model.checked:
        assert model.count_source
    else:
        assert model.note


@each_model
def test_the_configuration_is_that_of_one_model(model):
    assert not {"quantization_config", "auto_map", "_name_or_path"} & set(model.config)
    sizes = [value for value in model.config.values() if isinstance(value, int)]
    assert all(size >= -1 for size in sizes)


def test_names_are_unique_whatever_their_case():
    names = Counter(name.casefold() for model in ALL for name in (model.id, *model.aliases))
    assert [name for name, count in names.items() if count > 1] == []
    assert len(ALL) > 150


def test_tasks_that_can_be_measured_are_tasks_of_models():
    assert set(TASK_OF_MODEL) <= {model.task for model in ALL}


def test_sizes_in_names_are_those_of_the_models():
    """A name such as `llama-3.2-3b` says roughly how many parameters there are."""
    said = {
        model: float(size[1].replace("_", ".")) * {"m": 1e6, "b": 1e9}[size[2]]
        for model in ALL
        if (size := re.fullmatch(r".*?[-_](\d+(?:[._]\d+)?)(m|b)(?:-.*)?", model.id.lower()))
    }
    assert len(said) > 100
    assert [model.id for model, size in said.items() if not 0.8 < model.parameters / size < 1.7] == []


@each_model
def test_every_name_finds_its_model(model):
    for name in (model.id, model.id.upper(), *model.aliases):
        assert find_model(name) is model


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpt3", "gpt2"),
        ("smollm", "smollm2-135m"),
        ("llama-3.2-3c", "llama-3.2-3b"),
        ("meta-llama/Llama-3.2-4B", "meta-llama/Llama-3.2-3B"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest(name, near):
    with pytest.raises(
        UsageError, match=rf"^unknown model '{name}'; did you mean .*{near}.*'sizeup models' lists them"
    ):
        find_model(name)


@each_model
def test_builds_with_its_number_of_parameters(model):
    """On the meta device: shapes without memory. All of them take some ten seconds."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**model.config)
    with torch.device("meta"):
        built = getattr(transformers, AUTO_CLASSES[model.task]).from_config(config)
    counted = sum(parameter.numel() for parameter in built.parameters())
    assert counted == (model.built_parameters or model.parameters)


def test_a_configuration_is_a_copy_of_your_own():
    """Transformers writes into the rope settings that it is given."""
    model = find_model("llama-3.2-3b")
    before = copy.deepcopy(model.config)
    model.config["rope_scaling"]["factor"] = 1
    assert model.config == before


def test_models_are_hashable():
    assert len(set(ALL)) == len(ALL)
