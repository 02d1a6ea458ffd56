"""Every method of the installed peft, and every kind of model; run by test_on_virtual_gpu.py."""

import pytest

from profiler.harness.messages import TrialRequest
from profiler.harness.protocol import MeasurementProtocol
from profiler.harness.trial import run_trial
from profiler.spec import TrialSpec
from tests.profiler.devices.virtual.inside.conftest import forget
from tests.profiler.workload.test_methods import METHODS, OPTIONS
from tests.tiny_models import CONFIGS, write_model

SHORT = {
    "warmup_min_steps": 1, "warmup_min_seconds": 0, "timed_min_steps": 3, "timed_min_seconds": 0,
    "count_flops": False,
}  # fmt: skip
# It clusters what a decomposition of the weights gives, and of zeros there is but one cluster.
DECIDED_BY_WEIGHTS = {"adamss"}


@pytest.fixture
def run(tmp_path):
    """Run a trial of a tiny model; returns its result."""

    def trial(model, **settings):
        result = {}
        forget()

        def report(event, **content):
            if event == "result":
                result.update(content)

        spec = TrialSpec.parse({"model": write_model(tmp_path, model), "batch_size": 2, **settings})
        run_trial(
            TrialRequest(spec=spec, device="virtual:l40s", protocol=MeasurementProtocol.parse(SHORT)), report
        )
        return result

    return trial


@pytest.mark.parametrize("method", sorted(set(METHODS) - DECIDED_BY_WEIGHTS))
def test_every_method_runs(method, run):
    result = run("llama", method=method, method_options=OPTIONS.get(method, {}), sequence_length=16)
    assert result["outcome"] == "ok", result["message"]
    assert "does not have what was called" not in result.get("message", "")


@pytest.mark.parametrize("initialisation", ["pissa", "pissa_niter_4", "olora", "orthogonal"])
def test_adapters_that_start_from_a_decomposition_of_the_weights_run(initialisation, run):
    result = run(
        "llama", method="lora", method_options={"init_lora_weights": initialisation}, sequence_length=16
    )
    assert result["outcome"] == "ok", result["message"]


@pytest.mark.parametrize("model", sorted(CONFIGS))
def test_every_kind_of_model_trains(model, run):
    lengths = {} if model in ("vit", "swin") else {"sequence_length": 16}
    result = run(model, method="full", **lengths)
    assert result["outcome"] == "ok", result["message"]
    assert "does not have what was called" not in result.get("message", "")
