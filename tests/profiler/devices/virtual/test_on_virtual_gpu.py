"""Tests that need a GPU, run in a process that has a virtual one."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# In this order: the last one calls what is not there, and rows say what the process has called.
INSIDE = FOLDER / "inside"
FILES = (
    FOLDER.with_name("test_cuda.py"),
    INSIDE / "libraries.py",
    INSIDE / "trials.py",
    INSIDE / "gpu.py",
)


def test_on_a_virtual_gpu(on_virtual_gpu, tmp_path):
    report = tmp_path / "report.xml"
    options = ("-q", f"--junit-xml={report}", "-p", "no:cacheprovider")
    done = on_virtual_gpu("-m", "pytest", *options, *map(str, FILES))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    classes = [case.get("classname").rpartition(".")[2] for case in cases]
    assert classes.count("TestCudaDevice") == classes.count("TestVirtualDevice") + 1 > 10
    assert [case.get("name") for case in cases if case.find("skipped") is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["method_runs", "decomposition or kind_of_model"])
def test_every_method_and_kind_of_model(part, on_virtual_gpu):
    done = on_virtual_gpu(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE / "methods.py"), "-k", part
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
