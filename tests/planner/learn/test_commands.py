"""`sizeup learn` and `sizeup predict` on an invented store."""

import json

import pytest

from tests.estimators.learned import world

MODEL = "EleutherAI/pythia-70m"


@pytest.fixture
def learned(store_of):
    trials = world.trials(models=(MODEL, "HuggingFaceTB/SmolLM2-135M"), methods=("full", "lora", "ia3"))
    return store_of([one for trial in trials for one in world.measured(trial)])


def test_learn_then_predict(learned, sizeup):
    code, out, err = sizeup("learn", "--store", str(learned), "--target", "time", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert {row["schema_version"] for row in rows} == {1}
    of_configurations = {row["predictor"]: row for row in rows if row["left_out"] == "configuration"}
    errors = {name: row["error_percent_median"] for name, row in of_configurations.items()}
    assert min(errors, key=errors.get) == "learned"
    assert "54 measurements of 18 configurations." in err

    code, out, err = sizeup(
        "predict", "pythia-70m", "--method", "lora", "--batch-size", "3", "--store", str(learned),
        "--format", "json",
    )  # fmt: skip
    assert code == 0
    row = json.loads(out)
    assert row["schema_version"] == 1
    assert row["step_seconds_median_low"] < row["step_seconds_median"] < row["step_seconds_median_high"]
    assert (row["status"], row["step_seconds_median_level"]) == ("ok", 0.9), row["reasons"]


def test_there_is_nothing_to_learn_from(sizeup, tmp_path):
    code, out, err = sizeup("learn", "--store", str(tmp_path / "none.db"))
    assert (code, out) == (1, "")
    assert "none.db" in err
