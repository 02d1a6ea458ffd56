import json
import re

import pytest

from estimators.cache import cached_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(folder):
    """A cache of two files of 3 MiB."""
    for kind in ("ledger", "answer"):
        path = cached_path(kind, {})
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(3 * 2**19))


def test_show_says_where_it_is_and_how_much_it_holds(sizeup, kept, folder):
    code, out, err = sizeup("cache", "show", "--format", "json")
    assert (code, err) == (0, "")
    shown = {"schema_version": 1, "folder": str(folder), "files": 2, "size_bytes": 3 * 2**20}
    assert json.loads(out) == shown
    _, out, _ = sizeup("cache", "show")
    assert str(folder) in out
    assert re.search(r"size \(MiB\) +3\.0\b", out)


def test_show_of_a_cache_that_is_not_there_makes_none(sizeup, folder):
    code, out, _ = sizeup("cache", "show", "--format", "json")
    assert (code, json.loads(out)["files"]) == (0, 0)
    assert not folder.exists()


def test_clear_says_what_it_deleted(sizeup, kept, folder):
    assert sizeup("cache", "clear") == (0, "", f"Deleted 2 files (3.0 MiB) from {folder}.\n")
    assert sizeup("cache", "clear") == (0, "", f"Deleted 0 files (0.0 MiB) from {folder}.\n")
    assert json.loads(sizeup("cache", "show", "--format", "json")[1])["files"] == 0


def test_a_file_that_cannot_be_deleted_is_a_sentence(refusal, kept, monkeypatch):
    def unlink(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.unlink", unlink)
    code, said = refusal("cache", "clear")
    assert code == 1
    assert said.endswith(": Permission denied")
