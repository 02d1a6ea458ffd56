"""Values on a virtual GPU: the tests that need one run in a process that has it."""

import ast
import sys
from pathlib import Path

import pytest

from profiler.devices.virtual import values

PACKAGE = Path(values.__file__).parent
INSIDE = Path(__file__).parent / "inside" / "values.py"


def test_values_on_a_virtual_gpu(on_virtual_gpu):
    done = on_virtual_gpu("-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_the_package_needs_nothing_of_ours_by_name(path):
    """It is loaded into processes of users under another name."""
    allowed = {"torch", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {name.name.partition(".")[0] for name in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.partition(".")[0] in allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1
