import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.devices.virtual import VirtualDevice
from profiler.environment import torch_cuda_version

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The libraries are compiled, into a cache of the tests' own; where they cannot be, the test is skipped.

    Without a compiler there is a reason, too, but none that lets CI pass.
    """
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    if torch_cuda_version() is None:
        pytest.skip("needs a CUDA build of torch")
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIZEUP_CACHE", str(tmp_path_factory.mktemp("cache")))
        VirtualDevice("l40s").facts()
        yield


@pytest.fixture(scope="session")
def on_virtual_gpu(compiled):
    """Run Python on a virtual GPU: `on_virtual_gpu("-c", "import torch", gpu="t4")`; returns the process."""

    def run(*arguments, gpu="l40s", **settings):
        variables = VirtualDevice(gpu, **settings).child_environment(None)
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT), "CI": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
