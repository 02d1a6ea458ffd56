"""One trial at a time on a device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.errors import SizeupError
from profiler.harness.lock import device_lock

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys, time
from pathlib import Path
from profiler.harness.lock import device_lock
with device_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(0.5)
    Path(sys.argv[2]).touch()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that holds the lock of a device until its standard input is written to, and longer."""
    holders = []

    def start(device):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, device, str(tmp_path / "done")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        holders.append(holder)
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.wait()


def test_a_second_process_waits_until_the_first_is_done(hold, tmp_path):
    holder = hold("cuda:0")
    waited = []

    def release():
        waited.append(True)
        holder.stdin.write("\n")
        holder.stdin.flush()

    with device_lock("cuda:0", waiting=release):
        assert (tmp_path / "done").exists()
    assert waited == [True]


def test_a_killed_holder_holds_nothing(hold):
    holder = hold("cuda:0")
    with device_lock("cuda:0", waiting=holder.kill):
        pass


def test_another_device_is_free(hold):
    hold("cuda:0")
    with device_lock("cuda:1", waiting=lambda: pytest.fail("it is another device")):
        pass


def test_it_can_be_taken_again(hold):
    for _ in range(2):
        with device_lock("cpu", waiting=lambda: pytest.fail("nobody holds it")):
            pass


def test_an_error_inside_releases_it(hold):
    with pytest.raises(ValueError, match="mine"), device_lock("cpu"):
        raise ValueError("mine")
    holder = hold("cpu")
    assert holder.poll() is None


def test_an_error_of_the_system_inside_stays_what_it_is():
    with pytest.raises(FileNotFoundError, match="mine"), device_lock("cpu"):
        raise FileNotFoundError("mine")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SizeupError, match=r"cannot lock cpu in .*: Not a directory"), device_lock("cpu"):
        pytest.fail("it has no lock")
