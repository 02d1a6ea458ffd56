import io
import json

import pytest

from estimators.memory import Verdict
from planner.cli.run_report import print_script_answer, verdict_line
from planner.script_answer import roomiest_device, script_answer
from profiler.catalog import find_gpu
from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.cuda import CudaDevice
from profiler.script import ScriptCommand, ScriptRequest, ScriptRun
from profiler.script.record import Ending, Holder, Holders, OutOfMemory, PhasePeak

T4 = gpu_memory(find_gpu("t4"))
LEAST, MOST = T4.room_bytes_range
COMMAND = ("python", "train.py")
OOM = OutOfMemory(
    phase="backward", step=1, line="train.py:9", stack=("train.py:9", "train.py:20"),
    oom_requested_bytes=2**30, oom_allocated_bytes=13 * 2**30, oom_reserved_bytes=14 * 2**30,
)  # fmt: skip


def answer_of(*, device=None, **run):
    settings = {
        "ending": Ending.STOPPED, "stop_reason": "stable", "exit_code": 0, "seconds": 9.0, "used_gpu": True,
        "steps": 4, "peak_allocated_bytes": 2**30, "peak_reserved_bytes": LEAST, **run,
    }  # fmt: skip
    request = ScriptRequest(
        command=ScriptCommand(interpreter=("python",), kind="script", target="train.py"),
        device=device or roomiest_device(find_gpu("t4")),
    )
    return script_answer(ScriptRun(**settings), request, COMMAND)


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        ({}, Verdict.FITS),
        ({"peak_reserved_bytes": LEAST + 1}, Verdict.CANNOT_TELL),
        ({"ending": Ending.ENDED, "stop_reason": None, "steps": 0}, Verdict.FITS),
        ({"ending": Ending.OOM, "out_of_memory": OOM}, Verdict.DOES_NOT_FIT),
        ({"stop_reason": "time", "steps": 1}, Verdict.CANNOT_TELL),
        ({"stop_reason": "time", "steps": 2}, Verdict.FITS),
        ({"ending": Ending.INTERRUPTED, "steps": 1}, Verdict.CANNOT_TELL),
        ({"used_gpu": False, "peak_reserved_bytes": None}, Verdict.CANNOT_TELL),
        ({"ending": Ending.ERROR, "message": "ValueError: no"}, None),
        ({"ending": Ending.KILLED, "stop_reason": None, "exit_code": -9}, None),
    ],
)
def test_the_verdict_is_told_from_the_run(run, verdict):
    answer = answer_of(**run)
    assert answer.verdict is verdict
    assert (answer.cannot_tell_because is None) == (verdict is not Verdict.CANNOT_TELL)


def test_the_roomiest_card_has_the_most_room():
    facts = roomiest_device(find_gpu("t4"))
    assert facts._memory_bytes - facts._context_bytes == MOST


def test_retries_are_a_flag_of_what_fits():
    assert answer_of(alloc_retries=2).fits_only_with_retries
    assert not answer_of(alloc_retries=0).fits_only_with_retries
    assert not answer_of(alloc_retries=2, ending=Ending.OOM).fits_only_with_retries


def test_a_real_card_assumes_nothing():
    answer = answer_of(device=CudaDevice(0), peak_process_bytes=5 * 2**30)
    assert (answer.verdict, answer.gpu, answer.assumed_process_bytes) == (Verdict.FITS, None, None)
    assert verdict_line(answer).startswith("fits on cuda:0: reserved ")


def printed(answer, format="table"):
    stream = io.StringIO()
    print_script_answer(answer, format=format, stream=stream)
    return stream.getvalue()


def test_the_report_has_the_verdict_first_and_marks_what_is_assumed():
    text = printed(
        answer_of(
            timeline=(
                PhasePeak(step=0, phase="load", peak_allocated_bytes=1, peak_reserved_bytes=2**21),
                PhasePeak(step=0, phase="forward", peak_allocated_bytes=2**20, peak_reserved_bytes=2**22),
            ),
            holders=Holders(
                step=0, phase="forward", line="train.py:7", size_bytes=2**20,
                by_category=(Holder(category="parameters", size_bytes=2**20),),
                by_line=(Holder(category="parameters", size_bytes=2**20, line="train.py:3"),),
            ),
            counts={"saves": {"model.safetensors": 3}, "redirected": {"/home/me/out": 2}},
            notes=("floats are 0",),
        )
    )  # fmt: skip
    assert text.startswith("fits on Tesla T4: reserved ")
    assert "reserved + assumed context" in text
    assert "What held memory at the peak, in forward of step 1 at train.py:7:" in text
    assert "Tensors not saved (3): model.safetensors." in text
    assert "Not virtual or assumed: floats are 0." in text
    assert "Assumed: a CUDA context of" in text


def test_out_of_memory_names_the_line():
    text = printed(answer_of(ending=Ending.OOM, out_of_memory=OOM))
    assert text.startswith(
        "does not fit on Tesla T4: out of memory in backward of step 2 at train.py:9, asking for 1.0 GiB "
        "with 14.0 GiB reserved\n"
    )
    assert "  train.py:20\n" in text


@pytest.mark.parametrize(
    ("run", "course"),
    [
        (
            {"ending": Ending.ERROR, "stop_reason": None, "message": "no"},
            "4 optimizer steps in 9 s, until it failed",
        ),
        ({"ending": Ending.OOM, "stop_reason": None, "out_of_memory": OOM}, "until memory ran out"),
        (
            {"ending": Ending.ENDED, "stop_reason": None, "trainer": "transformers.Trainer"},
            "until its end (transformers.Trainer was asked to end early)",
        ),
        ({}, "stopped when the peaks no longer grew"),
    ],
)
def test_the_second_line_says_how_the_run_ended(run, course):
    assert printed(answer_of(**run)).splitlines()[1].endswith(course)


def test_json_has_every_figure_in_bytes():
    value = json.loads(printed(answer_of(), "json"))
    assert (value["schema_version"], value["verdict"], value["gpu"]) == (1, "fits", "t4")
    assert value["command"] == ["python", "train.py"]
    assert value["assumed_process_bytes"] == LEAST + T4.context_bytes
    assert value["out_of_memory"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--", "python", "train.py"], 2, "say where to run: --gpu ID"),
        (["--gpu", "t4", "--device", "cuda", "--", "python", "train.py"], 2, "say where to run"),
        (["--gpu", "t44", "--", "python", "train.py"], 2, "unknown GPU 't44'"),
        (["--device", "cpu", "--", "python", "train.py"], 2, "--device takes cuda or cuda:N, not 'cpu'"),
        (["--device", "virtual:t4", "--", "python", "train.py"], 2, "a virtual GPU is named with --gpu"),
        (["--gpu", "t4", "--steps", "0", "--", "python", "train.py"], 2, "0 is not in the range"),
        (["--gpu", "t4", "--stepz", "3", "--", "python", "train.py"], 2, "No such option '--stepz'"),
    ],
)
def test_mistakes_are_sentences(refusal, arguments, code, sentence):
    found, said = refusal("run", *arguments)
    assert found == code
    assert sentence in said


def test_a_snapshot_never_replaces_a_file(refusal, tmp_path):
    there = tmp_path / "peak.pickle"
    there.write_text("mine")
    code, said = refusal("run", "--gpu", "t4", "--snapshot", there, "--", "python", "train.py")
    assert code == 2
    assert "is there already" in said
