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


ENDS_AT_ONCE = """
import torch
from profiler.devices.virtual import values

values.install()
layers = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(8)]).cuda()
for _ in range(2):
    layers(torch.ones(4, 64, device="cuda")).sum().backward()
"""


@pytest.mark.slow
def test_a_script_that_ends_with_backward_ends_well(on_virtual_gpu):
    """Without `wait_for_rest` more than half of them abort."""
    for _ in range(6):
        done = on_virtual_gpu("-c", ENDS_AT_ONCE)
        assert done.returncode == 0, done.stderr[-1000:]
