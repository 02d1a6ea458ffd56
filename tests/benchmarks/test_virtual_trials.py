import json

import pytest

from benchmarks import symbolic_vs_virtual
from benchmarks.published import peft_suite
from benchmarks.published_virtual import _peft_row
from benchmarks.symbolic_vs_virtual import PRODUCT, drawn, is_compared, summary_lines
from benchmarks.virtual_trials import memory_protocol, peak_bytes, step_peak_bytes
from profiler.catalog import find_gpu, find_model
from profiler.measurement import Environment, Measurement, Outcome
from profiler.spec import TrialSpec

SPEC = TrialSpec.parse({"model": "llama-2-7b"})


def measurement(**figures):
    environment = Environment(facts={})
    return Measurement(
        spec=SPEC, device="virtual:t4", environment=environment, outcome=Outcome.OK, figures=figures
    )


def compared(symbolic, virtual):
    """A result whose two tiers are the same."""
    return {
        engine: {"allocated": size, "reserved": size}
        for engine, size in (("symbolic", symbolic), ("virtual", virtual))
    }


def test_the_warm_up_has_exactly_the_steps_asked_for():
    protocol = memory_protocol(7)
    assert protocol.warmup_min_steps == 7
    assert protocol.warmup_min_seconds == 0
    assert protocol.warmup_max_seconds >= protocol.timeout_seconds


def test_the_peak_is_of_loading_or_of_the_steps():
    figures = {"load_peak_allocated_bytes": 5, "warmup_peak_allocated_bytes": 3, "peak_allocated_bytes": 9}
    assert peak_bytes(measurement(**figures), "allocated") == 5
    assert peak_bytes(measurement(**{**figures, "warmup_peak_allocated_bytes": 6}), "allocated") == 6


def test_the_peak_of_a_step_is_without_loading():
    figures = {f"{phase}_peak_reserved_bytes": size for phase, size in
               (("load", 9), ("forward", 2), ("backward", 4), ("optimizer", 3))}  # fmt: skip
    assert step_peak_bytes(measurement(**figures), "reserved") == 4


def test_a_trial_is_the_same_however_many_are_drawn():
    assert drawn(0, 5) == drawn(0, 5)
    assert drawn(0, 5) != drawn(1, 5)
    assert len({json.dumps(drawn(0, number)) for number in range(40)}) == 40


def test_every_draw_is_of_the_product():
    for number in range(40):
        settings, gpu = drawn(3, number)
        assert all(settings[name] in values for name, values in PRODUCT.items())
        assert gpu in symbolic_vs_virtual.GPUS


def test_the_models_are_of_a_tenth_to_eight_and_a_half_billion_parameters():
    sizes = [find_model(model).parameters for model in symbolic_vs_virtual.MODELS]
    assert min(sizes) > 1e8
    assert max(sizes) < 8.5e9
    assert len({find_gpu(gpu).compute_capability for gpu in symbolic_vs_virtual.GPUS}) == 3


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (compared(1, 2), True),
        ({"refused": "such lengths"}, False),
        ({"symbolic": {"refused": "no"}, "virtual": {"allocated": 1, "reserved": 1}}, False),
    ],
)
def test_only_two_peaks_are_compared(result, expected):
    assert is_compared(result) is expected


def test_the_summary_counts_what_was_not_compared():
    refused = {"symbolic": {"refused": "no"}, "virtual": {"refused": "no"}}
    disagreed = {"symbolic": {"refused": "no"}, "virtual": {"failed": "error"}}
    results = [compared(99, 100), compared(102, 100), {"refused": "no"}, refused, disagreed]
    counts, allocated, _ = summary_lines(results)
    assert counts.startswith("5 drawn: 2 compared, 2 infeasible, 1 ")
    assert "n 2  median 1.50%  p90 2.00%  worst 2.00%" in allocated


def test_without_a_comparison_there_are_counts_only():
    assert len(list(summary_lines([{"refused": "no"}]))) == 1


CELLS = {
    "experiment": "invented",
    "gpu": "NVIDIA L40S",
    "status": "success",
    "mem_reserved_max_whole_run_bytes": "",
    "tokens_per_step_unpadded_mean": "800.4",
    "torch_version": "2.13.0",
    "transformers_version": "",
    "peft_version": "",
    "bitsandbytes_version": "",
    "peft_config_json": "",
    "train_config_json": json.dumps(
        {
            "model_id": "llama-2-7b",
            "dtype": "float16",
            "optimizer_type": "SGD",
            "batch_size": 8,
            "use_gc": True,
            "use_amp": False,
            "compile": False,
            "grad_norm_clip": 0.5,
            "autocast_adapter_dtype": False,
        }
    ),
}


def test_a_run_of_the_peft_suite_has_batches_of_the_mean_length():
    assert peft_suite.mean_length(CELLS) == pytest.approx(100.05)
    row = _peft_row(CELLS, 103)
    assert row.spec.lengths == (103,)
    assert row.spec.batch_size == 8
    assert row.spec.loop == "raw"
