"""Tests that need a GPU, run in a process that has a virtual one; each of theirs is reported as one of ours."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = (FOLDER.with_name("test_cuda.py"), FOLDER / "inside" / "gpu.py", FOLDER / "inside" / "trials.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_on_a_virtual_gpu(file, on_virtual_gpu, tmp_path):
    report = tmp_path / "report.xml"
    done = on_virtual_gpu("-m", "pytest", "-q", f"--junit-xml={report}", "-p", "no:cacheprovider", str(file))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) >= 10
    assert [case.get("name") for case in cases if case.find("skipped") is not None] == []
