"""The scripts in `examples/` end with a report under the commands that their README gives."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.devices.virtual.torch_build import torch_build
from profiler.errors import NotPossibleError

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`sizeup run (.*?)`", TABLE)
SIZEUP_RUN = [sys.executable, "-P", "-c", "from planner.cli.main import main; main()", "run"]


@pytest.fixture(autouse=True)
def virtual_gpu():
    try:
        torch_build()
    except NotPossibleError as error:
        pytest.skip(f"needs a CUDA build of torch: {error}")


def files():
    """What is in the folders that the scripts could write to, but for what Python caches."""
    found = [*ROOT.iterdir(), *(ROOT / "examples").rglob("*")]
    return {path for path in found if "__pycache__" not in path.parts}


def test_every_script_is_in_the_table():
    scripts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").rglob("*.py")}
    named = {word for command in COMMANDS for word in command.split() if word.endswith(".py")}
    assert scripts - named == {"examples/record_trainer_run.py", "examples/local_module/profiler.py"}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_it_ends_with_a_report(command, tmp_path):
    if "trl_" in command and importlib.util.find_spec("trl") is None:
        pytest.skip("needs TRL")
    before = files()
    done = subprocess.run(
        [*SIZEUP_RUN, "--format", "json", *shlex.split(command)],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "HF_HOME": str(tmp_path / "hub"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert report["verdict"] == "fits"
    assert report["steps"] >= 4
    assert 0 < report["peak_allocated_bytes"] <= report["peak_reserved_bytes"]
    (given,) = [note for note in report["notes"] if "given hollow" in note]
    assert "is not in the local cache" in given
    assert not (tmp_path / "hub").exists()
    assert files() == before
