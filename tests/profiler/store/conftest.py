import os
import tempfile
from pathlib import Path

import pytest

from profiler.store import Store

NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "measurements.db"


@pytest.fixture
def store(path):
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def folder_of_another():
    """A folder that the test's user cannot write once it says so; root becomes nobody for that long."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def give_up_rights(folder_of_another):
    """Call this, and everything in the folder can only be read."""

    def give_up():
        for entry in folder_of_another.iterdir():
            entry.chmod(0o444)
        folder_of_another.chmod(0o555)
        if os.getuid() == 0:
            os.seteuid(NOBODY)

    return give_up
