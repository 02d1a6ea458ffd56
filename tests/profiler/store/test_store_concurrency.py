"""Several processes at one store, and processes that die while they write."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from profiler.store import Store
from tests.factories import measurement

ROOT = Path(__file__).parents[3]

# Says the id of a measurement when `add` has returned, and adds until it has added enough or is killed.
WRITER = """
import sys
from profiler.store import Store
from tests.factories import measurement, trial_spec

location, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with Store.open(location) as store:
    for number in range(count):
        row = measurement(sweep=name, spec=trial_spec(batch_size=1 + number), message="x" * 2000)
        store.add(row)
        print(row.id, flush=True)
"""


@pytest.fixture
def start_writer():
    running = []

    def start(location, name, count):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(location), name, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def check(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("exists", ["no file", "an empty file", "a store"])
def test_processes_that_open_and_write_at_once_all_succeed(path, start_writer, exists):
    if exists == "an empty file":
        path.touch()
    elif exists == "a store":
        Store.open(path).close()
    writers = [start_writer(path, name, 15) for name in ("a", "b", "c")]
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    with Store.open(path, must_exist=True) as store:
        for name, ids in zip("abc", said, strict=True):
            assert [row.id for row in store.measurements(sweep=name)] == ids
            assert len(ids) == 15
        assert store.info().specs == 15
    check(path)


@pytest.mark.parametrize("rows_before_the_end", [1, 40])
def test_a_killed_writer_leaves_every_row_it_committed(path, start_writer, rows_before_the_end):
    writer = start_writer(path, "night", 100_000)
    writer.stdin.write("\n")
    writer.stdin.flush()
    said = [writer.stdout.readline().strip() for _ in range(rows_before_the_end)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.read().split()  # not communicate, which misses what readline has read ahead
    writer.wait()
    with Store.open(path, must_exist=True) as store:
        found = [row.id for row in store.measurements()]
        assert found[: len(said)] == said
        assert len(found) <= len(said) + 1  # the last may have been committed but not said
        store.add(measurement())
    check(path)


@pytest.mark.parametrize(
    "cut",
    [
        "migrations.MIGRATIONS += (die,)",  # before the first tables are committed
        "store.keep_log = die",  # after, and before the store has its log
    ],
)
def test_a_store_whose_making_was_cut_off_is_made_by_the_next(path, cut):
    code = f"""
import os, signal
from profiler.store import Store, migrations, store

def die(*anything):
    os.kill(os.getpid(), signal.SIGKILL)

{cut}
Store.open({str(path)!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.exists()
    with Store.open(path) as store:
        store.add(measurement())
        assert store.info().schema == "initial_tables"
    check(path)
