import json
import shlex

import pytest
import yaml

from planner.fit import fitting, gpu_choice
from profiler.catalog import find_gpu
from profiler.catalog.gpu_memory import gpu_memory
from profiler.devices.nvml import GpuState
from profiler.errors import NotPossibleError
from tests.planner.fit.invented import MIB, RESIDUALS, InventedTracer
from tests.tiny_models import write_model

LORA = ("llama-3.2-1b", "--method", "lora")
LARGE = (*LORA, "--batch-size", "32", "--sequence-length", "1024")  # 32 GiB of activations


@pytest.fixture(autouse=True)
def traces(monkeypatch):
    """What is traced, by a tracer that needs no torch."""
    tracer = InventedTracer()
    monkeypatch.setattr(fitting, "Tracer", lambda: tracer)
    monkeypatch.setattr("estimators.memory.memory_residuals", lambda: RESIDUALS)
    return tracer.traced


def test_the_verdict_comes_first(sizeup):
    code, out, err = sizeup("fit", *LORA, "--gpu", "t4")
    assert (code, err) == (0, "")
    assert out.startswith("fits: needs 0.7 GiB (0.7 to 0.7) of the 14.6 to 14.8 GiB usable on Tesla T4\n")
    for line in ("Largest batch size at 512 tokens: 28", "Longest sequence at batch size 1: 14,"):
        assert line in out
    assert "Ways to make it fit" not in out
    assert out.endswith("Next: sizeup measure meta-llama/Llama-3.2-1B --method lora\n")


def test_parts_of_zero_are_left_out_and_the_rest_sums_to_the_peak(sizeup):
    _, out, _ = sizeup("fit", *LORA, "--gpu", "t4")
    table = out.partition("part ")[2].partition("Largest")[0].strip().splitlines()[2:]
    sizes = {name.strip(): float(size) for name, size in (line.rsplit(maxsplit=1) for line in table)}
    peak = sizes.pop("peak process")
    assert set(sizes) == {"weights", "activations", "context"}
    assert sum(sizes.values()) == pytest.approx(peak, abs=0.2)


def test_what_does_not_fit_says_where_and_what_would(sizeup):
    code, out, _ = sizeup("fit", *LARGE, "--gpu", "t4")
    assert code == 3
    assert out.startswith("does not fit: needs 32.2 GiB")
    assert "; runs out of memory in forward at model.layers.0, asking for 32.0 GiB\n" in out
    ways = out.partition("Ways to make it fit")[2]
    assert "fits      3.4 GiB  gradient checkpointing" in ways
    command = next(line.strip() for line in ways.splitlines() if "--gradient-checkpointing full" in line)
    assert sizeup("fit", *shlex.split(command)[2:], "--gpu", "t4")[0] == 0


def test_no_suggest_tries_nothing(sizeup, traces):
    code, out, _ = sizeup("fit", *LARGE, "--gpu", "t4", "--no-suggest")
    assert code == 3
    assert "Ways to make it fit" not in out
    assert all(spec.gradient_checkpointing == "none" for spec in traces)


def test_a_piped_report_is_never_cut(sizeup, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = sizeup("fit", *LARGE, "--gpu", "t4")
    assert any(len(line) > 120 for line in out.splitlines())
    assert "\x1b" not in out


LENGTHS = {"as given": "[128, 512]", "drawn with seed 3": '{"128": 9, "512": 1}'}


@pytest.mark.parametrize("said", LENGTHS)
def test_varying_lengths_say_what_the_steps_reserve_and_what_decides(sizeup, said):
    _, out, _ = sizeup("fit", *LORA, "--lengths", LENGTHS[said], "--lengths-seed", "3", "--gpu", "t4")
    # Weights of 64 MiB, and segments of 128 and 512 MiB: 192 MiB in the first step, 704 in the second.
    figures = "0.4 GiB in the median, 0.6 at the 90th percentile and 0.7 at most. The most decides"
    (line,) = (line for line in out.splitlines() if line.startswith("2 steps with lengths"))
    assert line.startswith(f"2 steps with lengths {said} reserve {figures}")
    assert line.endswith("decides." if said == "as given" else "would need more.")
    assert "not known: a spec with varying lengths" in out


def test_one_length_has_no_steps_to_tell_apart(sizeup):
    _, out, _ = sizeup("fit", *LORA, "--gpu", "t4")
    assert "The most decides" not in out


def test_json_is_one_object_for_one_gpu_and_a_list_for_several(sizeup):
    code, out, err = sizeup("fit", *LORA, "--gpu", "t4", "--format", "json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["schema_version"], answer["gpu"], answer["verdict"]) == (1, "t4", "fits")
    _, out, _ = sizeup("fit", *LORA, "--gpu", "t4", "--gpu", "l4", "--format", "json")
    answers = json.loads(out)
    assert [other["gpu"] for other in answers] == ["t4", "l4"]
    assert list(answers[0]) == list(answer)


def test_several_gpus_are_a_line_each_as_given(sizeup):
    code, out, _ = sizeup("fit", *LARGE, "--gpu", "l40s", "--gpu", "t4")
    assert code == 0  # on one of them it fits
    header, _, first, second = out.splitlines()
    assert header.split() == [
        "gpu", "verdict", "peak", "process", "(GiB)", "usable", "(GiB)", "headroom", "(GiB)",
    ]  # fmt: skip
    assert first.startswith("l40s   fits ")
    assert second.startswith("t4     does not fit ")
    assert float(second.split()[-1]) < 0 < float(first.split()[-1])


def test_none_of_several_fits(sizeup):
    assert sizeup("fit", *LARGE, "--gpu", "l4", "--gpu", "t4")[0] == 3


def test_all_gpus_are_shown_by_memory(sizeup):
    code, out, err = sizeup("fit", *LORA, "--gpu", "all", "--format", "csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 40


def test_a_gpu_without_cuda_is_left_out_of_several_with_its_reason(sizeup):
    code, out, err = sizeup("fit", *LORA, "--gpu", "t4", "--gpu", "mi300x", "--format", "csv")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert err.startswith("Left out mi300x: ")
    assert "not a CUDA GPU" in err


def test_it_cannot_be_told_near_the_edge(sizeup, monkeypatch):
    room = gpu_memory(find_gpu("t4")).room_bytes_range[0]  # without what the engine may be wrong by
    tracer = InventedTracer(lambda spec: room - 70 * MIB)
    monkeypatch.setattr(fitting, "Tracer", lambda: tracer)
    code, out, _ = sizeup("fit", *LORA, "--gpu", "t4")
    assert code == 4
    assert out.startswith("cannot tell: needs ")
    assert "; would run out of memory in forward" in out


def test_the_gpu_of_this_machine_is_meant_when_none_is_named(sizeup, monkeypatch):
    state = GpuState(
        index=0, name="Tesla T4", uuid=None, driver_version=None, memory_total_bytes=15_360 * MIB,
        memory_used_bytes=None, power_limit_watts=None, sm_clock_mhz=None, max_sm_clock_mhz=None,
        temperature_celsius=None, processes=(),
    )  # fmt: skip
    monkeypatch.setattr(gpu_choice, "gpu_state", lambda index: state)
    monkeypatch.setattr(gpu_choice, "visible_gpu", lambda position: position)
    code, out, _ = sizeup("fit", *LORA)
    assert code == 0
    assert "usable on Tesla T4" in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([*LORA, "--gpu", "l40ss"], 2, "unknown GPU 'l40ss'; did you mean l40s"),
        ([*LORA, "--gpu", "mi300x"], 1, "is not a CUDA GPU"),
        ([*LORA, "--gpu", "p100-pcie-16gb"], 1, "has compute capability 6.0"),
        ([*LORA, "--gpu", "all", "--gpu", "t4"], 2, "not both"),
        (["--gpu", "t4"], 2, "give a MODEL, or a trainer's file with --from"),
        (["lama", "--gpu", "t4"], 2, "unknown model 'lama'"),
        ([*LORA, "--gpu", "t4", "--batch-size", "0"], 2, "batch_size must be at least 1, not 0"),
        ([*LORA, "--gpu", "t4", "--loss-kernel", "liger"], 1, "liger needs Triton"),
        ([*LORA, "--gpu", "t4", "--write", "new.yaml"], 2, "name it with --from"),
        (["--from", "missing.yaml", "--gpu", "t4"], 2, "cannot read missing.yaml"),
        (["trial.yaml", "--from", "axolotl.yaml", "--gpu", "t4"], 2, "give one of the two files"),
    ],
)
def test_mistakes_are_sentences(refusal, arguments, code, sentence):
    found, said = refusal("fit", *arguments)
    assert found == code
    assert sentence in said


def test_without_a_gpu_here_one_must_be_named(refusal, monkeypatch):
    def none_here(index):
        raise NotPossibleError("no NVIDIA driver answers")

    monkeypatch.setattr(gpu_choice, "gpu_state", none_here)
    code, said = refusal("fit", *LORA)
    assert code == 2
    assert "name one with --gpu" in said


AXOLOTL = """\
base_model: meta-llama/Llama-3.2-1B
adapter: lora
lora_r: 16
lora_target_linear: true
sequence_len: 1024
micro_batch_size: 32  # per GPU
learning_rate: 2e-4
bf16: true
strange_key: 3
"""


@pytest.fixture
def axolotl(tmp_path):
    path = tmp_path / "axolotl.yaml"
    path.write_text(AXOLOTL)
    return path


def test_a_trainers_file_is_read_and_flags_override_it(sizeup, axolotl):
    code, out, err = sizeup("fit", "--from", axolotl, "--gpu", "t4", "--batch-size", "2", "--format", "json")
    assert code == 0
    spec = json.loads(out)["spec"]
    assert (spec["batch_size"], spec["sequence_length"], spec["method_options"]["r"]) == (2, 1024, 16)
    assert "Without effect on memory: learning_rate." in err
    assert "Not taken into account: strange_key: " in err
    assert sizeup("fit", "--from", axolotl, "--gpu", "t4", "--quiet")[2] == ""


def test_another_model_is_put_in_the_files_place(sizeup, axolotl):
    _, out, _ = sizeup("fit", "smollm2-135m", "--from", axolotl, "--gpu", "t4", "--format", "json")
    assert json.loads(out)["spec"]["model"] == "HuggingFaceTB/SmolLM2-135M"


def test_the_first_suggestion_that_fits_is_written_back(sizeup, axolotl, tmp_path):
    target = tmp_path / "new.yaml"
    code, _, err = sizeup("fit", "--from", axolotl, "--gpu", "t4", "--write", target)
    assert code == 3  # the file as it was does not fit
    assert f"Wrote {target}: gradient checkpointing." in err
    assert "gradient_checkpointing: true (added)" in err
    assert yaml.safe_load(target.read_text()) == {
        **yaml.safe_load(AXOLOTL),
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }
    assert "# per GPU" in target.read_text()
    assert sizeup("fit", "--from", target, "--gpu", "t4")[0] == 0


def test_nothing_is_written_over_a_file(sizeup, axolotl):
    code, out, err = sizeup("fit", "--from", axolotl, "--gpu", "t4", "--write", axolotl)
    assert code == 2
    assert out.startswith("does not fit")
    assert "is there already" in err
    assert axolotl.read_text() == AXOLOTL


def test_what_fits_is_not_written(sizeup, axolotl, tmp_path):
    target = tmp_path / "new.yaml"
    arguments = ("fit", "--from", axolotl, "--gpu", "l40s", "--write", target)
    code, _, err = sizeup(*arguments)
    assert code == 2
    assert err.splitlines()[-1] == f"Error: nothing was written to {target}: it fits as it is"
    assert not target.exists()


@pytest.mark.parametrize("more", [["--no-suggest"], ["--gpu", "l4"]])
def test_writing_needs_suggestions_for_one_gpu(sizeup, axolotl, tmp_path, more):
    code, out, err = sizeup(
        "fit", "--from", axolotl, "--gpu", "t4", "--write", tmp_path / "n.yaml", "--quiet", *more
    )
    assert (code, out) == (2, "")
    assert "--write takes the first suggestion that fits" in err


def test_a_trial_file_stands_for_the_model(sizeup, tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(f"model: {write_model(tmp_path, 'llama')}\nmethod: lora\nbatch_size: 3\n")
    _, out, _ = sizeup("fit", path, "--gpu", "t4", "--sequence-length", "64", "--format", "json")
    spec = json.loads(out)["spec"]
    assert (spec["batch_size"], spec["sequence_length"]) == (3, 64)
