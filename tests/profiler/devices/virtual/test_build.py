import os
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.devices.virtual import torch_build
from profiler.devices.virtual.build import virtual_libraries
from profiler.devices.virtual.core import CORE
from profiler.devices.virtual.stubs import LIBRARIES, driver_functions, exported_functions
from profiler.errors import NotPossibleError

ROOT = Path(__file__).parents[4]


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing is remembered, and the cache is empty."""
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path))
    for cached in (virtual_libraries, torch_build.torch_build):
        cached.cache_clear()
    yield tmp_path
    for cached in (virtual_libraries, torch_build.torch_build):
        cached.cache_clear()


def test_the_libraries_stand_in_for_those_of_the_wheels(compiled):
    libraries = virtual_libraries()
    assert {"libcudart", "libcublas", "libcudnn", "libcuda", "libnvidia-ml"} <= {
        name.partition(".")[0] for name in libraries.names
    }
    assert all((libraries.folder / name).is_file() for name in libraries.names)
    assert sorted(path.name for path in libraries.folder.iterdir()) == sorted(
        [*libraries.names, "architectures.txt"]
    )
    assert all(architecture.startswith("sm_") for architecture in libraries.architectures)
    assert libraries.variables["LD_PRELOAD"].split()[0] == CORE


def test_every_function_of_the_wheels_and_the_driver_is_there(compiled):
    wheels = torch_build.torch_build()
    ours = set(exported_functions(virtual_libraries().folder / CORE))
    for library in LIBRARIES:
        theirs = exported_functions(wheels.library(library.name))
        public = {name for name in theirs if name.startswith(library.prefixes)}
        assert len(public) > 20
        assert public <= ours
    driver = driver_functions(wheels)
    assert {"cuMemCreate", "cuCtxCreate_v4", "cuMemGetInfo_v2", "cuLaunchKernelEx"} <= driver <= ours


def test_what_the_user_preloads_is_kept(compiled, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/opt/libjemalloc.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    variables = virtual_libraries().variables
    assert variables["LD_PRELOAD"].split()[-1] == "/opt/libjemalloc.so"
    assert variables["LD_LIBRARY_PATH"] == f"{virtual_libraries().folder}:/opt/lib"


@pytest.mark.slow
def test_two_processes_may_compile_at_once(compiled, tmp_path):
    code = "from profiler.devices.virtual.build import virtual_libraries as v; print(v().folder)"
    environment = {**os.environ, "SIZEUP_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert [str(path) for path in (tmp_path / "virtual-gpu").iterdir()] == list(folders)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((torch_build.sys, "platform", "darwin"), "needs Linux, and this is darwin"),
        (
            (torch_build, "torch_cuda_version", lambda: None),
            "needs a CUDA build of torch, and torch .* without",
        ),
        ((torch_build, "torch_cuda_version", lambda: "11.8"), "knows CUDA 13, and torch .* for CUDA 11.8"),
        ((torch_build, "package_version", lambda name: None), "needs torch, which is not installed"),
    ],
)
def test_where_there_can_be_none_it_is_said(change, why, fresh, monkeypatch):
    monkeypatch.setattr(*change)
    with pytest.raises(NotPossibleError, match=f"^a virtual GPU {why}"):
        virtual_libraries()


@pytest.mark.parametrize("command", ["no-such-compiler -O2", ""])
def test_without_a_compiler_it_is_said(command, compiled, fresh, monkeypatch):
    monkeypatch.setenv("CC", command)
    with pytest.raises(NotPossibleError, match=r"needs a C compiler, and .* is not there"):
        virtual_libraries()
    assert list((fresh / "virtual-gpu").iterdir()) == []


def test_a_compiler_that_fails_is_said_and_leaves_nothing(compiled, fresh, monkeypatch):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(NotPossibleError, match=r"^false cannot compile a virtual GPU: exit code 1$"):
        virtual_libraries()
    assert list((fresh / "virtual-gpu").iterdir()) == []


def test_a_cache_that_the_loader_could_not_name_is_refused(compiled, fresh, monkeypatch):
    monkeypatch.setenv("SIZEUP_CACHE", str(fresh / "a:b"))
    with pytest.raises(NotPossibleError, match="has a colon in its name"):
        virtual_libraries()


def test_a_cache_that_cannot_be_written_is_said(compiled, fresh, monkeypatch):
    (fresh / "file").write_text("")
    monkeypatch.setenv("SIZEUP_CACHE", str(fresh / "file"))
    with pytest.raises(NotPossibleError, match=r"a virtual GPU cannot be compiled to .*: Not a directory"):
        virtual_libraries()


def test_a_file_that_is_no_library_is_refused(tmp_path):
    (tmp_path / "libcudart.so.13").write_bytes(b"GROUP ( libcudart.so.13.0 )")
    with pytest.raises(NotPossibleError, match=r"libcudart.so.13 of torch's wheels is no 64-bit library"):
        exported_functions(tmp_path / "libcudart.so.13")
