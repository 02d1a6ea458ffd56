"""From the command line to real steps and back: trials of a tiny model on this machine's CPU."""

import json

import pytest

from tests.tiny_models import write_model

pytestmark = pytest.mark.slow

SHORT = {"warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 6, "timed_min_seconds": 0}


@pytest.fixture
def tiny(tmp_path):
    return write_model(tmp_path, "llama")


def test_measured_repeats_become_one_line_of_results(sizeup, tiny):
    options = [f"--protocol-option={name}={value}" for name, value in SHORT.items()]
    trial = [tiny, "--method", "lora", "--method-option", "r=4", "--sequence-length", "32"]
    code, out, err = sizeup(
        "measure", *trial, "--device", "cpu", "--repeats", "3", "--format", "json", *options
    )
    assert code == 0, err
    measured = json.loads(out)
    assert [row["outcome"] for row in measured] == ["ok"] * 3
    (row,) = json.loads(sizeup("results", "--model", tiny, "--format", "json")[1])
    assert (row["processes"], row["ok"], row["method"], row["device"]) == (3, 3, "lora", "cpu")
    assert row["peak_allocated_bytes"] in {attempt["peak_allocated_bytes"] for attempt in measured}
    assert row["step_seconds_pi95_low"] <= row["step_seconds_median"] <= row["step_seconds_pi95_high"]
    assert row["peak_reserved_bytes"] is None


def test_a_trial_beyond_the_memory_limit_exits_with_3_and_is_kept(sizeup, tiny):
    trial = [tiny, "--batch-size", "4000", "--sequence-length", "256", "--memory-limit-mib", "200"]
    code, out, err = sizeup("measure", *trial, "--device", "cpu", "--quick", "--format", "json")
    assert code == 3, err
    row = json.loads(out)
    assert (row["outcome"], row["reason"], row["peak_allocated_bytes"]) == ("oom", "host-oom", None)
    (kept,) = json.loads(sizeup("results", "--format", "json")[1])
    assert (kept["ok"], kept["oom"]) == (0, 1)


def test_a_sweep_writes_its_table_and_goes_on_where_it_was(sizeup, tiny, tmp_path):
    file = tmp_path / "small.yaml"
    grid = {"model": [tiny], "method": ["full", "head"]}
    file.write_text(
        json.dumps({"protocol": SHORT, "device": "cpu", "base": {"sequence_length": 16}, "grid": grid})
    )
    table = tmp_path / "small.csv"
    code, _, err = sizeup("sweep", file, "--output", table)
    assert code == 0, err
    assert len(table.read_text().splitlines()) == 3
    code, _, err = sizeup("sweep", file, "--output", table, "--resume")
    assert code == 0, err
    assert len(json.loads(sizeup("results", "--each", "--sweep", "small", "--format", "json")[1])) == 2
