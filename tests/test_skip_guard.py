import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


def run_pytest(folder, test, *, ci):
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"import pytest\n\n{test}\n")
    environment = {**os.environ, "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


SKIPS = {
    "mark": "@pytest.mark.skip(reason='{}')\ndef test_it(): pass",
    "call": "def test_it(): pytest.skip('{}')",
    "module": "pytest.skip('{}', allow_module_level=True)",
}


@pytest.mark.parametrize("form", SKIPS)
def test_a_skip_without_a_good_reason_fails_on_ci_alone(tmp_path, form):
    test = SKIPS[form].format("not in the mood") + "\ndef test_other(): pass\n"
    at_home = run_pytest(tmp_path, test, ci="")
    assert at_home.returncode in (0, 5)  # 5: nothing was collected
    on_ci = run_pytest(tmp_path, test, ci="true")
    assert on_ci.returncode == 1
    assert "not in the mood" in on_ci.stdout


@pytest.mark.parametrize(
    "test",
    [
        "@pytest.mark.skip(reason='needs a CUDA device: none here')\ndef test_it(): pass",
        "@pytest.mark.xfail(reason='known')\ndef test_it(): assert False",
    ],
)
def test_allowed_reasons_and_expected_failures_pass_on_ci(tmp_path, test):
    assert run_pytest(tmp_path, test, ci="true").returncode == 0
