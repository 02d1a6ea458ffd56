"""What a measurement was made on and with."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from profiler import environment
from profiler.devices import CpuDevice
from profiler.environment import cpu_model, environment_of, host_facts, package_version, torch_cuda_version

ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
from profiler.devices import CpuDevice
from profiler.environment import environment_of
found = environment_of(CpuDevice())
print(json.dumps({"key": found.key, "facts": dict(found.facts), "has_torch": "torch" in sys.modules}))
"""


@pytest.fixture
def ask():
    """The environment that a new process sees."""

    def run(**variables):
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def test_the_machine_and_the_versions():
    facts = environment_of(CpuDevice()).facts
    assert facts["host_memory_gib"] == round(psutil.virtual_memory().total / 2**30)
    assert 1 <= facts["host_cpu_cores"] <= os.cpu_count()
    assert facts["python_version"] == ".".join(map(str, sys.version_info[:3]))
    for package in ("torch", "transformers", "peft", "accelerate", "bitsandbytes"):
        assert facts[f"{package}_version"] == importlib.metadata.version(package)
    assert facts["device_name"] == facts["host_cpu"] == cpu_model()
    assert "MALLOC_ARENA_MAX=1" in facts["allocator_settings"]
    assert None not in facts.values()


def test_another_process_sees_the_same_environment_and_needs_no_torch(ask):
    first, second = ask(OMP_NUM_THREADS="2"), ask(OMP_NUM_THREADS="2")
    assert first == second
    assert not first["has_torch"]


def test_another_number_of_threads_is_another_environment(ask):
    one, two = ask(OMP_NUM_THREADS="1"), ask(OMP_NUM_THREADS="2")
    assert one["facts"].pop("host_threads") == "1"
    assert two["facts"].pop("host_threads") == "2"
    assert one["facts"] == two["facts"]
    assert one["key"] != two["key"]


def test_the_cuda_version_is_that_of_torch():
    assert torch_cuda_version() == torch.version.cuda


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("cuda: Optional[str] = '13.0'\n", "13.0"),
        ("from typing import Optional\ncuda = '12.8'\nhip: Optional[str] = '6.1'\n", "12.8"),
        ("cuda: Optional[str] = None\n", None),
        ("", None),
    ],
)
def test_the_cuda_version_is_read_without_importing(text, version, tmp_path, monkeypatch):
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "version.py").write_text(text)
    spec = importlib.util.spec_from_file_location("torch", folder / "__init__.py")
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _name: spec)
    assert torch_cuda_version() == version
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _name: None)
    assert torch_cuda_version() is None


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    assert package_version("no-such-package-anywhere") is None
    monkeypatch.setattr(environment, "package_version", lambda name: None if name == "bitsandbytes" else "1")
    host_facts.cache_clear()
    try:
        facts = environment_of(CpuDevice()).facts
    finally:
        host_facts.cache_clear()
    assert "bitsandbytes_version" not in facts
    assert facts["peft_version"] == "1"
