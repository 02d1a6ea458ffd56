import json

import pytest


def test_models_are_found_by_alias(sizeup):
    code, out, _ = sizeup("models", "LLAMA-3.2-1b", "--format", "json")
    assert code == 0
    (model,) = json.loads(out)
    assert model["id"] == "meta-llama/Llama-3.2-1B"
    assert model["parameters"] == 1_235_814_400
    assert "llama-3.2-1b" in model["aliases"]


def test_models_of_a_task(sizeup):
    _, out, _ = sizeup("models", "--task", "masked-lm", "--format", "json")
    assert {model["task"] for model in json.loads(out)} == {"masked-lm"}


def test_gpus_of_a_vendor_in_any_case(sizeup):
    _, out, _ = sizeup("gpus", "--vendor", "amd", "--format", "json")
    assert {gpu["vendor"] for gpu in json.loads(out)} == {"AMD"}


def test_json_of_gpus_has_the_sources_and_the_table_has_not(sizeup):
    _, out, _ = sizeup("gpus", "a100-sxm", "--format", "json")
    assert all(gpu["source"] for gpu in json.loads(out))
    assert "source" not in sizeup("gpus", "a100-sxm")[1]


@pytest.mark.parametrize(("arguments", "near"), [(("models", "gtp2"), "gpt2"), (("gpus", "h1000"), "h100")])
def test_what_is_not_there_is_said_with_what_is_near(sizeup, arguments, near):
    code, out, err = sizeup(*arguments)
    assert (code, out) == (0, "")
    assert near in err
    assert json.loads(sizeup(*arguments, "--format", "json")[1]) == []
