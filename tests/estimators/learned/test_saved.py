"""A learned model is read back only as this installation wrote it."""

import pickle
import stat

import numpy as np
import pytest

from estimators.learned import LearnedPredictor
from estimators.learned.saved import read_model, write_model
from estimators.learned.state import from_state, to_state
from profiler.errors import SizeupError
from tests.estimators.learned import world


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "step.model"
    LearnedPredictor("peak_allocated_bytes").fit(
        world.table_of(world.trials(models=["small"]), "peak_allocated_bytes")
    ).save(path)
    return path


def refused(path):
    with pytest.raises(SizeupError) as caught:
        LearnedPredictor.load(path)
    return str(caught.value)


def test_a_changed_file_is_refused(saved):
    content = bytearray(saved.read_bytes())
    for place in (len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        saved.write_bytes(changed)
        assert "was changed" in refused(saved)
    saved.write_bytes(content[:-10])
    assert "was changed" in refused(saved)
    saved.write_bytes(content)
    assert LearnedPredictor.load(saved).target == "peak_allocated_bytes"


def test_a_file_of_another_installation_is_refused(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    assert "learned by another installation" in refused(saved)


def test_other_files_are_refused_without_looking_into_them(tmp_path):
    path = tmp_path / "evil.model"
    path.write_bytes(pickle.dumps(print))
    assert "is not a learned model" in refused(path)
    assert "cannot read" in refused(tmp_path / "absent.model")


def test_the_key_is_for_the_user_alone(saved, data_folder):
    assert stat.S_IMODE((data_folder / "models.key").stat().st_mode) == 0o600


def test_a_damaged_key_is_said(saved, data_folder):
    (data_folder / "models.key").write_bytes(b"short")
    assert "is no key" in refused(saved)


def test_only_marked_classes_are_built():
    with pytest.raises(TypeError, match="cannot be stored"):
        to_state(object(), [])
    with pytest.raises(SizeupError, match="holds a Popen"):
        from_state({"$type": "Popen"}, [])


def test_values_come_back_with_their_types(tmp_path, data_folder):
    content = {"a": (1, None, True, "x", 2.5), "b": np.array([1.5, np.nan]), "c": np.array(["é", ""])}
    write_model(tmp_path / "file.model", content)
    found = read_model(tmp_path / "file.model")
    assert found["a"] == content["a"]
    np.testing.assert_array_equal(found["b"], content["b"])
    np.testing.assert_array_equal(found["c"], content["c"])
