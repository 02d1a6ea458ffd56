"""Trials of the harness on a virtual GPU, in this process; run by test_on_virtual_gpu.py."""

import json

import pytest

from profiler.harness.messages import TrialRequest
from profiler.harness.protocol import MeasurementProtocol
from profiler.harness.trial import run_trial
from profiler.measurement import FIGURES
from profiler.spec import TrialSpec
from tests.profiler.devices.virtual.inside.conftest import forget
from tests.tiny_models import CONFIGS

MIB = 2**20
SHORT = {"warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 3, "timed_min_seconds": 0}
# Large enough that its tensors, not the allocator's pages, decide what fits.
WIDE = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 4096}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def run(folder):
    """Run a trial of a small Llama: its result, and the phases it went through."""

    def trial(*, gpu="virtual:l40s", vocab_size=16384, **settings):
        model = folder / str(vocab_size)
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text(json.dumps({**CONFIGS["llama"], **WIDE, "vocab_size": vocab_size}))
        small = {"model": str(model), "sequence_length": 16, "precision": "fp32"}
        spec = TrialSpec.parse({**small, **settings})
        result, phases = {}, []
        forget()

        def report(event, **content):
            if event == "result":
                result.update(content)
            elif event == "phase" and content["phase"] not in phases:
                phases.append(content["phase"])

        request = TrialRequest(spec=spec, device=gpu, protocol=MeasurementProtocol.parse(SHORT))
        run_trial(request, report)
        return result, phases

    return trial


def test_a_trial_has_memory_and_host_time_and_nothing_else(run):
    result, phases = run(method="lora")
    figures = result["figures"]
    assert result["outcome"] == "ok"
    assert "message" not in result
    assert phases == ["load", "forward", "backward", "optimizer"]
    memory = {f"{phase}_peak_{tier}_bytes" for phase in phases for tier in ("allocated", "reserved")}
    memory |= {f"{when}peak_{tier}_bytes" for when in ("", "warmup_") for tier in ("allocated", "reserved")}
    counts = {"trainable_parameters", "total_parameters", "flops_per_step", "steps_timed", "warmup_steps"}
    others = {"resident_bytes", "alloc_retries", "host_seconds_median", "load_seconds", "warmup_stable"}
    assert set(figures) == memory | counts | others
    assert all(isinstance(value, FIGURES[name].kind) for name, value in figures.items())
    assert list(result["step_seconds"]) == []
    for tier in ("allocated", "reserved"):
        assert max(figures[name] for name in memory if tier in name) == figures[f"peak_{tier}_bytes"]


def test_full_fine_tuning_holds_weights_gradients_and_states(run):
    figures = run()[0]["figures"]
    parameters = figures["total_parameters"]
    workspaces = 2 * 8_519_680  # cuBLAS, of the main thread and autograd's
    assert 4 * parameters <= figures["load_peak_allocated_bytes"] < 4.1 * parameters
    assert 0 <= figures["resident_bytes"] - 12 * parameters - workspaces < 0.1 * parameters
    assert figures["optimizer_peak_allocated_bytes"] >= 16 * parameters + workspaces


def test_two_trials_take_the_same_bytes(run):
    first, second = (run(method="lora")[0]["figures"] for _ in range(2))
    names = [name for name in first if name.endswith("allocated_bytes")]
    assert {name: first[name] for name in names} == {name: second[name] for name in names}


@pytest.mark.parametrize(
    ("phase", "settings"),
    [
        ("load", {"vocab_size": 65536}),  # 134 MB of weights
        ("forward", {"method": "lora", "sequence_length": 1024}),
        ("backward", {"method": "lora", "sequence_length": 384}),
        ("optimizer", {}),  # weights, gradients and one of AdamW's states
    ],
)
def test_memory_that_runs_out_in_each_phase(phase, settings, run, leave_free):
    leave_free(130)
    result, _ = run(**settings)
    assert (result["outcome"], result["reason"], result["phase"]) == ("oom", "cuda-oom", phase)
    assert result["message"].startswith("CUDA out of memory. Tried to allocate")
    figures = result["figures"]
    assert set(figures) == {"oom_requested_bytes", "oom_allocated_bytes", "oom_reserved_bytes"}
    assert figures["oom_allocated_bytes"] <= figures["oom_reserved_bytes"] <= 130 * MIB
    assert figures["oom_reserved_bytes"] + figures["oom_requested_bytes"] > 110 * MIB


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora", "quantization": "nf4", "gradient_checkpointing": "full", "precision": "bf16"},
        {"method": "lora", "quantization": "int8", "precision": "fp16"},
        {"optimizer": "paged-adamw-8bit"},
        {"optimizer": "adamw-fused", "precision": "amp-fp16"},
        {"method": "lora", "attention": "sdpa-flash", "precision": "bf16", "padding_mask": False},
        {"method": "oft"},
        {"loop": "raw", "evaluation_batch_size": 2, "save": True, "lengths": [16, 48, 32]},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_what_people_train_runs(settings, run):
    result, _ = run(**settings)
    assert result["outcome"] == "ok"
    assert "does not have" not in result.get("message", "")  # which values were assumed, it may say
    assert result["figures"]["peak_allocated_bytes"] > 0


def test_what_is_not_there_is_not_possible_and_named(run):
    result, _ = run(method="p-tuning", method_options={"encoder_reparameterization_type": "LSTM"})
    assert (result["outcome"], result["reason"]) == ("failed", "not-possible")
    assert "a virtual GPU does not have cudnnCreateDropoutDescriptor" in result["message"]
