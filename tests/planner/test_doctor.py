import json

import pytest

from planner import doctor
from planner.doctor import Status, examine
from profiler.devices import nvml
from profiler.devices.nvml import GpuState
from profiler.devices.virtual.torch_build import torch_build
from profiler.errors import NotPossibleError
from profiler.store import Store

GIB = 2**30


def gpu(**fields):
    defaults = {
        "index": 0, "name": "NVIDIA L40S", "uuid": "GPU-1", "driver_version": "580.1",
        "memory_total_bytes": 46068 * 2**20, "memory_used_bytes": GIB, "power_limit_watts": 350.0,
        "sm_clock_mhz": 210, "max_sm_clock_mhz": 2520, "temperature_celsius": 30, "processes": (),
    }  # fmt: skip
    return GpuState(**{**defaults, **fields})


@pytest.fixture
def findings(monkeypatch, tmp_path):
    """Call this with the GPUs the driver knows, or why there is none; it returns the findings by subject."""
    monkeypatch.setenv("SIZEUP_CACHE", str(tmp_path / "cache"))

    def call(*gpus, missing=None, store=tmp_path / "none.db"):
        def count():
            if missing:
                raise NotPossibleError(missing)
            return len(gpus)

        monkeypatch.setattr(nvml, "gpu_count", count)
        monkeypatch.setattr(nvml, "gpu_state", lambda index: gpus[index])
        return {finding.subject: finding for finding in examine(store)}

    return call


def test_a_machine_without_a_driver_is_told_so_plainly(findings):
    driver = findings(missing="no NVIDIA driver answers: not found")["GPU driver"]
    assert driver.status is Status.NONE
    assert driver.message == "no NVIDIA driver answers: not found; trials run on the CPU."


def test_a_free_gpu_is_ok(findings):
    card = findings(gpu())["cuda:0"]
    assert card.status is Status.OK
    assert card.message == "NVIDIA L40S, 44.0 of 45.0 GiB free, SM clock 210 of 2520 MHz."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"processes": (1, 2)}, "used by 2 other processes, which disturbs measurements"),
        ({"name": "NVIDIA Unheard Of"}, "not in the catalogue"),
    ],
)
def test_what_disturbs_is_a_warning(findings, fields, words):
    card = findings(gpu(**fields))["cuda:0"]
    assert card.status is Status.WARN
    assert words in card.message


def test_what_the_driver_does_not_say_is_left_out(findings):
    card = findings(gpu(memory_used_bytes=None, sm_clock_mhz=None))["cuda:0"]
    assert card.message == "NVIDIA L40S."


def test_a_store_that_is_not_there_is_not_made(findings, tmp_path):
    path = tmp_path / "folder" / "new.db"
    assert findings(missing="x", store=path)["store"].status is Status.NONE
    assert not path.parent.exists()


def test_the_store_is_looked_into(findings, tmp_path):
    Store.open(tmp_path / "s.db").close()
    found = findings(missing="x", store=tmp_path / "s.db")["store"]
    assert (found.status, found.message) == (Status.OK, f"{tmp_path / 's.db'} holds 0 measurements.")
    (tmp_path / "text").write_text("hello")
    assert findings(missing="x", store=tmp_path / "text")["store"].status is Status.WARN


def test_an_empty_trace_cache_is_not_made(findings, tmp_path):
    found = findings(missing="x")["trace cache"]
    assert found.status is Status.NONE
    assert found.message == f"{tmp_path / 'cache'} holds nothing yet; traces and answers are kept there."
    assert not (tmp_path / "cache").exists()


def test_the_trace_cache_is_looked_into(findings, tmp_path):
    path = tmp_path / "cache" / "ledger" / "one.ledger"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(2**20))
    found = findings(missing="x")["trace cache"]
    assert found.status is Status.OK
    assert found.message == f"{tmp_path / 'cache'} holds 1 file (1.0 MiB); 'sizeup cache clear' empties it."


def test_a_trace_cache_that_cannot_be_made_is_a_warning(findings, tmp_path):
    (tmp_path / "cache").write_text("a file")
    found = findings(missing="x")["trace cache"]
    assert found.status is Status.WARN
    assert f"nothing can be added: {tmp_path / 'cache'} cannot be written" in found.message


def test_a_missing_package_is_a_warning(findings, monkeypatch):
    versions = {"transformers": "5.0", "peft": None, "accelerate": "1", "bitsandbytes": None}
    monkeypatch.setattr("profiler.environment.package_version", versions.get)
    found = findings(missing="x")
    assert found["transformers"].message == "transformers 5.0."
    assert found["peft"].status is Status.WARN
    assert found["bitsandbytes"].status is Status.NONE


def test_a_missing_compiler_is_said(findings, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    assert findings(missing="x")["C compiler"].message.startswith("no-such-compiler is not there")


def test_a_virtual_gpu_is_found_or_its_lack_explained(findings, monkeypatch, tmp_path):
    monkeypatch.setattr("profiler.devices.virtual.build.libraries_folder", lambda: tmp_path)
    assert (
        findings(missing="x")["virtual GPU"].message
        == f"It is compiled for the installed torch, in {tmp_path}."
    )
    monkeypatch.setattr("profiler.devices.virtual.build.libraries_folder", lambda: tmp_path / "none")
    monkeypatch.setattr("profiler.devices.virtual.build.compiler", lambda: ["cc"])
    found = findings(missing="x")["virtual GPU"]
    assert (found.status, found.message.partition(",")[0]) == (Status.OK, "It can be compiled here")
    monkeypatch.undo()
    monkeypatch.setattr("profiler.devices.virtual.torch_build.torch_cuda_version", lambda: None)
    torch_build.cache_clear()
    found = findings(missing="x")["virtual GPU"]
    assert found.status is Status.NONE
    assert found.message.startswith("a virtual GPU needs a CUDA build of torch, and torch")


def test_the_command_prints_every_finding(sizeup, monkeypatch):
    finding = doctor.Finding(subject="C compiler", status=Status.OK, message="cc.")
    monkeypatch.setattr("planner.cli.commands.doctor.examine", lambda location: [finding])
    assert json.loads(sizeup("doctor", "--format", "json")[1]) == [
        {"schema_version": 1, "status": "ok", "subject": "C compiler", "message": "cc."}
    ]
    assert "C compiler" in sizeup("doctor")[1]
