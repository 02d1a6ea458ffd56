import json

import pytest

from profiler.measurement import Outcome, Reason
from profiler.store import Store
from tests.factories import measurement


@pytest.fixture
def count(store_path):
    def call(path=store_path):
        with Store.open(path, must_exist=True) as store:
            return store.info().measurements

    return call


@pytest.fixture
def three(add):
    add(measurement(), measurement(outcome=Outcome.OOM), measurement(reason=Reason.CRASH))


def test_info(sizeup, three, store_path):
    code, out, _ = sizeup("store", "info", "--format", "json")
    facts = json.loads(out)
    assert code == 0
    assert facts["location"] == str(store_path)
    assert facts["by_outcome"] == {"failed": 1, "ok": 1, "oom": 1}
    assert facts["schema_version"] == 1
    _, out, _ = sizeup("store", "info")
    assert "failed 1, ok 1, oom 1" in out


def test_merge_adds_once(sizeup, three, count, tmp_path):
    with Store.open(tmp_path / "other.db") as other:
        other.add_many([measurement(), measurement()])
    code, out, err = sizeup("store", "merge", tmp_path / "other.db")
    assert (code, out) == (0, "")
    assert err.startswith("Added 2 to ")
    assert count() == 5
    assert "Added 0 to " in sizeup("store", "merge", tmp_path / "other.db")[2]
    assert count() == 5
    assert count(tmp_path / "other.db") == 2


def test_merge_makes_the_target_but_never_the_source(sizeup, refusal, three, count, tmp_path, store_path):
    assert sizeup("store", "merge", store_path, "--store", tmp_path / "new.db")[0] == 0
    assert count(tmp_path / "new.db") == 3
    code, said = refusal("store", "merge", tmp_path / "typo.db")
    assert code == 1
    assert "there is no store at" in said
    assert not (tmp_path / "typo.db").exists()


def test_prune_deletes_what_meets_all_criteria(sizeup, three, count):
    assert sizeup("store", "prune", "--outcome", "failed", "--reason", "error", "--yes")[0] == 0
    assert count() == 3
    code, out, err = sizeup("store", "prune", "--outcome", "failed", "--outcome", "oom", "--yes")
    assert (code, out) == (0, "")
    assert err.startswith("Deleted 2 measurements of ")
    assert count() == 1


def test_a_dry_run_deletes_nothing(sizeup, three, count):
    _, _, err = sizeup("store", "prune", "--before", "2999-01-01", "--dry-run")
    assert err.startswith("3 measurements of ")
    assert count() == 3


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 2), ("n\n", 1, 3), ("", 1, 3)])
def test_prune_asks_first(sizeup, three, count, monkeypatch, answer, code, left):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert sizeup("store", "prune", "--outcome", "oom")[0] == code
    assert count() == left


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say what to delete"),
        (["--before", "yesterday"], "--before must be a day or a time, such as 2026-01-31, not 'yesterday'"),
        (["--before", "0001-01-01T00:00+10:00"], "--before must be a day or a time"),
        (["--outcome", "good"], "'good' is not one of 'ok'"),
    ],
)
def test_prune_refuses_what_it_does_not_understand(refusal, three, arguments, sentence):
    code, said = refusal("store", "prune", *arguments)
    assert code == 2
    assert sentence in said
