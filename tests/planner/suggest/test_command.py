"""`sizeup suggest` on a store in which an invented world was measured."""

import json

import pytest

from profiler.store import Store
from tests.estimators.learned import world
from tests.planner.learn.conftest import InventedSource

MODEL = "EleutherAI/pythia-70m"
SWEEP = """
name: more
base: {sequence_length: 512, precision: bf16}
grid:
  model: [pythia-70m]
  method: [lora, ia3]
  batch_size: [1, 2, 3, 6]
"""


@pytest.fixture(autouse=True)
def invented(monkeypatch):
    monkeypatch.setattr("planner.suggest.suggesting.FeatureSource", InventedSource)


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture
def measured(store_path):
    trials = world.trials(models=(MODEL,), methods=("full", "lora"))
    with Store.open(store_path) as store:
        store.add_many(one for trial in trials for one in world.measured(trial))


@pytest.mark.parametrize("goal", ["map", "best"])
def test_what_is_measured_is_left_out_and_the_rest_has_a_reason(sizeup, sweep, measured, goal):
    code, out, _err = sizeup("suggest", sweep, "--goal", goal, "--format", "json")
    assert code == 0
    answer = json.loads(out)
    assert (answer["schema_version"], answer["goal"]) == (1, goal)
    assert {skipped["reason"] for skipped in answer["skipped"]} >= {"measured already"}
    for row in answer["suggestions"]:
        assert (row["method"], row["batch_size"]) not in {("lora", 1), ("lora", 2)}
        assert row["why"]
        assert row["command"].startswith(f"sizeup measure {MODEL} --method {row['method']}")
    assert answer["suggestions"] or answer["stop_because"]


def test_the_best_so_far_has_a_unit(sizeup, sweep, measured):
    code, _, err = sizeup("suggest", sweep, "--goal", "best")
    assert code == 0
    assert "s per sample." in err


def test_nothing_measured_yet_is_no_error(sizeup, sweep):
    code, out, err = sizeup("suggest", sweep)
    assert "Traceback" not in err
    assert code == 0
    assert out
