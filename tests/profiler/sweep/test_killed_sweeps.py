"""Sweeps of real trials that are killed at any moment, and go on."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from profiler.store import Store
from tests.processes import PATIENCE_SECONDS, wait_until, with_marker

ROOT = Path(__file__).parents[3]
KILLS = 20
TRIALS = 8
COMMAND = "from planner.cli.main import main; main()"
MARKER = "SIZEUP_TEST_SWEEP"


@pytest.fixture
def sweep_file(tiny, tmp_path):
    content = {
        "device": "cpu",
        "repeats": 2,
        "protocol": {
            "warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 3, "timed_min_seconds": 0,
            "count_flops": False,
        },
        "base": {"model": tiny, "sequence_length": 16, "precision": "fp32"},
        "grid": {"method": ["lora", "full"], "batch_size": [1, 2]},
    }  # fmt: skip
    path = tmp_path / "killed.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


@pytest.fixture
def start(sweep_file, tmp_path):
    """Start the sweep on a store; all its processes carry the marker, and none outlives the test."""
    marker = str(tmp_path)

    def run(store):
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, "sweep", str(sweep_file), "--store", str(store), "--resume",
             "--quiet", "--output", str(tmp_path / "table.parquet")],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path), MARKER: marker},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    yield run
    for process_id in with_marker(MARKER, marker):
        os.kill(process_id, signal.SIGKILL)


def finished(store):
    """How many finished rows each trial has."""
    with Store.open(store) as opened:
        rows = list(opened.measurements())
    assert all(row.outcome == "ok" for row in rows)
    return Counter((row.spec, row.repeat) for row in rows if row.is_finished)


def check_integrity(store):
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def run_to_the_end(start, store):
    process = start(store)
    _, said = process.communicate(timeout=20 * PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert list(finished(store).values()) == [1] * TRIALS
    check_integrity(store)


@pytest.mark.slow
def test_a_sweep_that_is_killed_twenty_times_in_a_row_ends_with_each_trial_once(start, tmp_path):
    moments = random.Random(20)
    number, killed, marker = 0, Counter(), str(tmp_path)
    while sum(killed.values()) < KILLS:
        store = tmp_path / f"{number}.db"
        process = start(store)
        has_trial = False
        if moments.random() < 0.7:  # anywhere in the trials, else while it starts
            has_trial = wait_until(
                lambda p=process: len(with_marker(MARKER, marker)) >= 3 or p.poll() is not None
            )
            assert has_trial, "no trial began"
        time.sleep(moments.uniform(0, 2 if has_trial else 5))
        ended_before = process.poll() is not None
        process.kill()
        process.communicate()
        # The kernel ends the others; each may take its time.
        assert wait_until(lambda: not with_marker(MARKER, marker)), "a process outlived its sweep"
        if ended_before:  # all trials are done: another sweep shall be killed
            assert len(finished(store)) == TRIALS
            number += 1
            continue
        killed[number] += 1
        if store.exists():
            assert set(finished(store).values()) <= {1}
            check_integrity(store)
    for sweep in killed:
        run_to_the_end(start, tmp_path / f"{sweep}.db")
    print(f"{KILLS} kills over {len(killed)} sweeps")  # noqa: T201  # shown with -s


@pytest.mark.slow
def test_ctrl_c_keeps_the_interrupted_row_and_leaves_no_process(start, tmp_path):
    store, marker = tmp_path / "0.db", str(tmp_path)
    process = start(store)
    assert wait_until(lambda: len(with_marker(MARKER, marker)) >= 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert wait_until(lambda: not with_marker(MARKER, marker))
    with Store.open(store) as opened:
        rows = list(opened.measurements())
    assert [row.reason for row in rows if not row.is_finished] == ["interrupted"]
