"""A hollow checkpoint takes the place of nothing but another."""

import os

import pytest

from profiler.errors import UsageError
from profiler.hollow import folder as folders
from profiler.hollow.checkpoint import write_hollow_checkpoint
from tests.tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path, "gpt2")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_that_holds_something_else_stays_as_it_is(model, target):
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"notes\.txt, which is no part of a hollow checkpoint"):
            write_hollow_checkpoint(model, target, force=force)
    assert contents(target) == {"notes.txt": b"mine"}


def test_a_real_checkpoint_stays_as_it_is(model, target):
    target.mkdir()
    (target / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        write_hollow_checkpoint(model, target, force=True)
    assert contents(target) == {"model.safetensors": b"weights"}


def test_a_hollow_checkpoint_is_replaced_when_asked(model, target, tmp_path):
    first = write_hollow_checkpoint(write_model(tmp_path, "vit"), target)
    with pytest.raises(UsageError, match="holds a hollow checkpoint already"):
        write_hollow_checkpoint(model, target)
    assert set(contents(target)) == set(first.files)
    second = write_hollow_checkpoint(model, target, force=True)
    assert set(contents(target)) == set(second.files)
    assert "preprocessor_config.json" in set(first.files) - set(second.files)


def test_a_model_saved_over_a_hollow_checkpoint_is_not_replaced(model, target):
    write_hollow_checkpoint(model, target)
    (target / "adapter_model.safetensors").write_bytes(b"trained")
    with pytest.raises(UsageError, match="adapter_model"):
        write_hollow_checkpoint(model, target, force=True)


def test_a_file_is_no_folder(model, target):
    target.write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write_hollow_checkpoint(model, target)
    assert target.read_text() == "mine"


def test_the_cache_of_the_hub_is_not_written_to(model, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr(folders, "HF_HUB_CACHE", str(cache))
    for place in (cache, cache / "models--gpt2", cache / "x" / ".." / "y"):
        with pytest.raises(UsageError, match="hub cache"):
            write_hollow_checkpoint(model, place)
    assert not cache.exists()


def test_a_failure_leaves_nothing(model, target, monkeypatch):
    def fail(*arguments, **named):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("profiler.hollow.checkpoint.write_tokenizer", fail)
    target.mkdir()
    with pytest.raises(OSError, match="No space left"):
        write_hollow_checkpoint(model, target)
    assert contents(target) == {}


def test_a_path_relative_to_the_working_folder(model, target, monkeypatch):
    target.mkdir()
    monkeypatch.chdir(target)
    made = write_hollow_checkpoint(model, ".")
    assert set(contents(target)) == set(made.files)
