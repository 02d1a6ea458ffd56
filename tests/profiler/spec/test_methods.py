import json
from importlib import resources

import pytest

from profiler.errors import UsageError
from profiler.spec import TrialSpec, methods
from profiler.spec.methods import ALIASES, PLAIN_METHODS, REQUIRED_OPTIONS, check_options, method_options

PACKAGED = json.loads(resources.files("profiler.spec").joinpath("peft_methods.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def peft():
    return pytest.importorskip("peft")


def installed_options(peft):
    from dataclasses import fields

    not_options = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version"}
    not_options |= {"revision", "task_type"}
    return {
        peft_type.value.lower().replace("_", "-"): sorted(
            {field.name for field in fields(config)} - not_options
        )
        for peft_type, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }


def test_the_packaged_list_is_that_of_its_peft(peft):
    if peft.__version__ != PACKAGED["peft_version"]:
        pytest.skip(f"peft {peft.__version__} is installed, the list is that of {PACKAGED['peft_version']}")
    assert PACKAGED["methods"] == installed_options(peft)


def test_every_method_of_the_installed_peft_is_known(peft):
    for method, options in installed_options(peft).items():
        check_options(method, dict.fromkeys(options))


def test_a_newer_peft_brings_its_methods_and_options(monkeypatch):
    monkeypatch.setattr(methods, "_packaged", lambda: {"lora": ("r",)})
    monkeypatch.setattr(
        methods, "_installed", lambda: {"lora": ("r", "new_option"), "new-method": ("width",)}
    )
    assert method_options("new-method") == ("width",)
    spec = TrialSpec.parse({"model": "gpt2", "method": "NEW_METHOD", "method_options": {"width": 3}})
    assert spec.method == "new-method"
    check_options("lora", {"new_option": 1})
    with pytest.raises(
        UsageError, match=r"unknown option of lora 'newer'.*\(options of lora: new_option, r\)"
    ):
        check_options("lora", {"newer": 1})
    with pytest.raises(UsageError, match="unknown method 'newest'"):
        method_options("newest")


def test_what_is_packaged_is_known_without_peft(monkeypatch):
    def not_needed():
        raise AssertionError("peft was imported")

    monkeypatch.setattr(methods, "_installed", not_needed)
    for method, options in PACKAGED["methods"].items():
        check_options(method, dict.fromkeys(options))
    for name in methods.method_names():
        TrialSpec.parse({"model": "gpt2", "method": name})


def test_aliases_and_plain_methods_are_no_peft_methods():
    assert not {*ALIASES, *PLAIN_METHODS} & set(PACKAGED["methods"])
    assert {alias["method"] for alias in ALIASES.values()} <= set(PACKAGED["methods"])


@pytest.mark.filterwarnings("ignore:No value was provided")
def test_peft_builds_every_method_with_the_options_it_gets_when_none_are_given(peft):
    for peft_type, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items():
        method = peft_type.value.lower().replace("_", "-")
        assert methods.peft_name(method) == peft_type.value
        config(task_type="CAUSAL_LM", **REQUIRED_OPTIONS.get(method, {}))


def test_required_options_are_options():
    for method, options in REQUIRED_OPTIONS.items():
        check_options(method, options)


def test_options_given_win_over_required_ones():
    spec = TrialSpec.parse({"model": "gpt2", "method": "prompt", "method_options": {"num_virtual_tokens": 3}})
    assert spec.method_options == {"num_virtual_tokens": 3}
