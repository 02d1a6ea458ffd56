import json
import os
import subprocess
import sys

import pytest

from profiler.script.places import INJECTED_FOLDER
from profiler.script.record import EventReader


@pytest.fixture
def run_alone(tmp_path):
    """Run Python code as the supervisor would, without a GPU: `run_alone(path, *arguments)`.

    Returns the finished process and its events.
    """

    def run(target, *arguments, kind="script", cwd=None):
        folder = tmp_path / "run"
        (folder / "tmp").mkdir(parents=True)
        settings = {
            "supervisor": os.getpid(), "folder": str(folder), "events": str(folder / "events.jsonl"),
            "steps": 4, "is_exact": False, "world_size": 1, "is_one_of_many": False, "virtual_folder": None,
            "hollow_folder": None, "substitution": None, "snapshot": None,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        done = subprocess.run(
            [sys.executable, str(INJECTED_FOLDER / "bootstrap.py"), str(folder / "settings.json"), kind,
             str(target), *arguments],
            env={**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=cwd, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done, EventReader(folder / "events.jsonl").read()

    return run
