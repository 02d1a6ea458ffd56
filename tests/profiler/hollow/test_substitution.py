"""A script that asks for a model that is not here gets a hollow one, and the hub's cache stays as it is."""

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

import profiler.hollow
import profiler.script.inject.imports
from profiler.hollow.substitutable import hub_ids, substitution_settings
from profiler.hollow.substitution.data_sets import guard_loading
from profiler.hollow.substitution.models import HollowModels

PACKAGE = Path(profiler.hollow.__file__).parent

# What the supervisor of a script does in its process, the script excepted.
HARNESS = """
import importlib, importlib.util, json, sys, types

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

hooks, package, settings, script, notes = sys.argv[1:]
imports = load("_hooks", hooks).ImportHooks()
imports.install()
sys.modules["_hollow"] = types.ModuleType("_hollow")
sys.modules["_hollow"].__path__ = [package]
substitution = importlib.import_module("_hollow.substitution")
file = open(notes, "a")
substitution.install(imports, json.load(open(settings)), lambda note: print(note, file=file, flush=True))
sys.argv[:] = [script]
exec(compile(open(script).read(), script, "exec"), {"__name__": "__main__"})
"""

SCRIPT = """
import json, os, sys
import torch
from huggingface_hub import HfApi, file_exists, hf_hub_download, list_repo_files, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

assert "profiler" not in sys.modules
hub_id = "HuggingFaceTB/SmolLM2-135M-Instruct"
tokenizer = AutoTokenizer.from_pretrained(hub_id)
assert tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False)
model, info = AutoModelForCausalLM.from_pretrained(hub_id, dtype=torch.float32, output_loading_info=True)
assert not any(info.values()), info
assert model.dtype == torch.float32
assert model.config._name_or_path == hub_id
assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
assert AutoConfig.from_pretrained(hub_id, revision="main").hidden_size == 576

folder = snapshot_download(hub_id)
assert hf_hub_download(hub_id, "config.json", revision="main") == os.path.join(folder, "config.json")
assert snapshot_download(repo_id=hub_id, local_dir="mine") == "mine"
assert AutoConfig.from_pretrained("mine").hidden_size == 576
assert file_exists(hub_id, "config.json") and not file_exists(repo_id=hub_id, filename="x.txt")
assert sorted(HfApi().list_repo_files(hub_id)) == sorted(os.listdir(folder))
assert sorted(list_repo_files(hub_id)) == sorted(os.listdir(folder))
for error, ask in [
    (OfflineModeIsEnabled, lambda: HfApi().model_info(hub_id)),
    (LocalEntryNotFoundError, lambda: hf_hub_download(hub_id, "x.txt")),
]:
    try:
        ask()
    except error:
        continue
    raise AssertionError(error)

# Of what is in the cache, and of what the catalogue does not know, nothing is different.
assert AutoModelForCausalLM.from_pretrained("EleutherAI/pythia-14m").config.hidden_size == 64
for unknown in ("nobody/nothing", "smollm2-135m"):
    try:
        AutoConfig.from_pretrained(unknown)
    except OSError:
        continue
    raise AssertionError(unknown)

print("done")
"""


def files(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def cache_a_model(cache, hub_id, config):
    """Put a model with weights into a cache of huggingface_hub."""
    import transformers

    place = cache / f"models--{hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    model.save_pretrained(place / "snapshots" / ("0" * 40))


def test_a_script_loads_a_model_that_is_not_here(tmp_path):
    cache, folder = tmp_path / "home" / "hub", tmp_path / "run"
    tiny = {
        "model_type": "gpt_neox", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 64, "vocab_size": 64,
    }  # fmt: skip
    cache_a_model(cache, "EleutherAI/pythia-14m", tiny)
    folder.mkdir()
    for name, text in {
        "harness.py": HARNESS, "script.py": SCRIPT, "profiler.py": "raise AssertionError('the user's own')",
        "settings.json": json.dumps(substitution_settings(folder)),
    }.items():  # fmt: skip
        (tmp_path / name).write_text(textwrap.dedent(text))
    before = files(tmp_path / "home")
    hooks = profiler.script.inject.imports.__file__
    done = subprocess.run(
        [sys.executable, "harness.py", hooks, str(PACKAGE), "settings.json", "script.py", "notes.txt"],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
    after = files(tmp_path / "home")
    assert {path: at for path, at in after.items() if cache in path.parents} == {
        path: at for path, at in before.items() if cache in path.parents
    }
    (note,) = (tmp_path / "notes.txt").read_text().splitlines()
    assert note.startswith(
        "HuggingFaceTB/SmolLM2-135M-Instruct is not in the local cache: it was given hollow"
    )
    assert "stand-in for its tokenizer" in note


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError])
def test_a_data_set_that_is_not_here_is_said_and_not_substituted(error):
    def load_dataset(path, *arguments, **named):
        if path == "nobody/data":
            raise error(path)
        return path, arguments, named

    module, notes = SimpleNamespace(load_dataset=load_dataset), []
    guard_loading(module, notes.append)
    assert module.load_dataset("json", "x", split="train") == ("json", ("x",), {"split": "train"})
    assert notes == []
    with pytest.raises(error):
        module.load_dataset("nobody/data")
    assert len(notes) == 1
    assert notes[0].startswith("the data set nobody/data cannot be had here")


MAKER = """
import pathlib, sys
name, folder = sys.argv[1:]
if name == "google/gemma-2b":
    sys.exit("no room")
for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
    (pathlib.Path(folder) / file).write_text("made for " + name)
"""


@pytest.fixture
def notes():
    return []


@pytest.fixture
def hollow_models(tmp_path, notes):
    """Hollow models of a maker that needs no torch."""
    settings = substitution_settings(tmp_path / "made")
    settings["command"] = [sys.executable, "-c", MAKER]
    settings = json.loads(json.dumps(settings))
    (tmp_path / "made").mkdir()
    return HollowModels(settings, notes.append)


def test_a_model_is_made_once_for_each_id(hollow_models, tmp_path, notes):
    place = hollow_models.cache_for("gpt2", None, tmp_path)
    assert place == str(tmp_path / "made")
    assert hollow_models.files("gpt2") == ["config.json", "tokenizer.json", "tokenizer_config.json"]
    first = files(tmp_path / "made")
    assert hollow_models.cache_for("gpt2", "model", tmp_path) == place
    assert files(tmp_path / "made") == first
    assert len(notes) == 1


@pytest.mark.parametrize(("name", "kind"), [("nobody/x", None), ("gpt2", "dataset"), ("llama-3.2-1b", None)])
def test_other_repositories_are_left_alone(hollow_models, tmp_path, notes, name, kind):
    assert hollow_models.cache_for(name, kind, tmp_path) is None
    assert notes == []


def test_a_tokenizer_that_is_cached_is_used(hollow_models, tmp_path, notes):
    cached = tmp_path / "cache" / "models--google--gemma-7b" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "tokenizer.json").write_text("its own")
    (cached / "config.json").write_text("not used")
    place = hollow_models.cache_for("google/gemma-7b", None, tmp_path / "cache")
    (snapshot,) = Path(place).glob("models--google--gemma-7b/snapshots/*")
    found = {path.name: path.read_text() for path in snapshot.iterdir()}
    assert found == {"config.json": "made for google/gemma-7b", "tokenizer.json": "its own"}
    assert "tokenizer" not in notes[0]


def test_weights_that_are_cached_are_used_and_a_link_to_nothing_is_none(hollow_models, tmp_path):
    cached = tmp_path / "cache" / "models--gpt2" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "model.safetensors").symlink_to(tmp_path / "blob")
    assert hollow_models.cache_for("gpt2", None, tmp_path / "cache") is not None
    (tmp_path / "blob").touch()
    (cached.parents[1]).rename(tmp_path / "cache" / "models--distilgpt2")
    assert hollow_models.cache_for("distilgpt2", None, tmp_path / "cache") is None


def test_what_cannot_be_made_is_asked_of_the_hub_and_said(hollow_models, tmp_path, notes):
    assert hollow_models.cache_for("google/gemma-2b", None, tmp_path) is None
    assert notes == ["no hollow checkpoint could be made for google/gemma-2b: no room"]


def test_only_ids_of_the_hub_are_substituted():
    assert {
        "meta-llama/llama-3.1-8b-instruct",
        "gpt2",
        "bert-base-uncased",
        "openai-community/gpt2",
    } <= hub_ids()
    assert not {"llama-3.1-8b", "phi-2", "openai/whisper-tiny"} & hub_ids()


@pytest.mark.parametrize("path", sorted((PACKAGE / "substitution").glob("*.py")), ids=lambda path: path.name)
def test_what_is_injected_imports_nothing_of_ours_by_name(path):
    imported = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    absolute = {
        name.partition(".")[0]
        for node in imported
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module] * (node.level == 0)
        )
    }
    assert absolute <= {*sys.stdlib_module_names, "torch", "safetensors", "huggingface_hub"}
