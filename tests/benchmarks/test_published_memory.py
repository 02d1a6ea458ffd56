import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.published import canifinetune, fitcheck, peft_suite
from benchmarks.published.rows import PublishedRow, predict_peaks, read_table
from benchmarks.published.scoring import Summary, residual_interval, signed_error
from benchmarks.published_memory import Scored, residuals_text
from estimators.ledger import Ledger, Mark
from profiler.catalog import find_gpu
from profiler.errors import SizeupError, UsageError
from profiler.measurement import Phase
from profiler.spec import TrialSpec

MIB = 2**20
SPEC = TrialSpec.parse({"model": "llama-2-7b"})

PEFT_CELLS = {
    "experiment": "invented",
    "gpu": "NVIDIA A100-SXM4-40GB",
    "status": "success",
    "mem_reserved_max_whole_run_bytes": "1234.0",
    "tokens_per_step_unpadded_mean": "800.4",
    "torch_version": "2.13.0",
    "transformers_version": "5.13.1",
    "peft_version": "0.19.1",
    "bitsandbytes_version": "",
    "peft_config_json": json.dumps(
        {
            "peft_type": "LN_TUNING",
            "task_type": None,
            "inference_mode": False,
            "base_model_name_or_path": "somewhere",
            "peft_version": "0.0",
            "target_modules": ["norm"],
            "modules_to_save": None,
        }
    ),
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

FITCHECK_CELLS = {
    "session": "s",
    "gpu": "Tesla T4",
    "torch": "2.14.0+cu130",
    "transformers": "5.17.0",
    "peft": "0.20.0",
    "bitsandbytes": "",
    "model_id": "llama-2-7b",
    "method": "qlora",
    "quantization": "nf4",
    "double_quant": "True",
    "precision": "fp16",
    "lora_rank": "4",
    "lora_alpha": "12",
    "lora_dropout": "0.25",
    "lora_targets": "q_proj|v_proj",
    "optimizer": "adam8bit",
    "grad_checkpoint": "True",
    "attn_impl": "sdpa",
    "batch_size": "3",
    "seq_len": "96",
    "grad_accum": "2",
    "outcome": "oom",
    "peak_allocated_mib": "1.5",
    "peak_reserved_mib": "",
}

CANIFINETUNE_CELLS = {
    "gpu": "NVIDIA GeForce RTX 4080",
    "model_id": "Qwen/Qwen2.5-1.5B-Instruct",
    "method": "qlora",
    "quantization_effective": "nf4_double_quant",
    "base_dtype": "bf16",
    "lora_rank": "4",
    "lora_alpha": "12",
    "lora_dropout": "0.0",
    "lora_targets": "q_proj",
    "optimizer": "paged_adamw_8bit",
    "gradient_checkpointing": "False",
    "attention": "sdpa",
    "torch": "2.6.0+cu124",
    "transformers": "5.8.1",
    "peft": "0.19.1",
    "bitsandbytes": "0.49.2",
    "batch_size": "2",
    "seq_len": "96",
    "grad_accum": "1",
    "steps": "3",
    "success": "True",
    "peak_allocated_gib": "0.5",
    "peak_reserved_gib": "1.5",
}


def row(**fields):
    values = {
        "name": "row",
        "spec": SPEC,
        "gpu": find_gpu("l40s"),
        "steps": 2,
        "first_step": 1,
        "reserved_bytes": None,
        "allocated_bytes": None,
        "completed": True,
        "libraries": {},
    }
    return PublishedRow(**{**values, **fields})


def test_a_run_of_the_peft_suite_is_what_its_two_configurations_say():
    published = peft_suite.published_row(PEFT_CELLS, longest=300)
    assert published.spec == TrialSpec.parse(
        {
            "model": "llama-2-7b",
            "method": "ln-tuning",
            "method_options": {"target_modules": ["norm"]},
            "precision": "fp16",
            "autocast_adapter_dtype": False,
            "optimizer": "sgd",
            "batch_size": 8,
            "lengths": [50, 300],
            "empty_cache_every": 1,
            "gradient_checkpointing": "full",
            "max_grad_norm": 0.5,
            "loop": "raw",
        }
    )
    assert published.reserved_bytes == 1234
    assert published.completed
    assert published.libraries == {"torch": "2.13.0", "transformers": "5.13.1", "peft": "0.19.1"}


def test_a_run_of_the_peft_suite_without_adapter_trains_the_whole_model():
    published = peft_suite.published_row({**PEFT_CELLS, "peft_config_json": ""}, longest=300)
    assert published.spec.method == "full"


def test_a_run_of_the_peft_suite_without_memory_has_none():
    published = peft_suite.published_row({**PEFT_CELLS, "mem_reserved_max_whole_run_bytes": ""}, longest=300)
    assert published.reserved_bytes is None


@pytest.mark.parametrize(
    ("setting", "value"), [("dtype", "int3"), ("optimizer_type", "NAdam"), ("use_amp", True)]
)
def test_what_no_trial_expresses_is_refused(setting, value):
    training = {**json.loads(PEFT_CELLS["train_config_json"]), setting: value}
    with pytest.raises(UsageError):
        peft_suite.published_row({**PEFT_CELLS, "train_config_json": json.dumps(training)}, longest=300)


@given(
    st.integers(2, 500).flatmap(lambda high: st.tuples(st.integers(1, high - 1), st.just(high))),
    st.floats(0, 1),
)
def test_the_inferred_length_is_the_nearest(bounds, share):
    low, high = bounds
    measured = round(share * (10 * high - 10 * low)) + 10 * low
    found = peft_suite.infer_length(lambda length: 10 * length, measured, low=low, high=high)
    assert abs(10 * found - measured) == min(abs(10 * length - measured) for length in range(low, high + 1))


def test_a_measurement_beyond_every_length_is_refused():
    with pytest.raises(UsageError, match="no length from 1 to 5"):
        peft_suite.infer_length(lambda length: length, 6, low=1, high=5)


def test_a_row_of_fitcheck():
    published = fitcheck.published_row(FITCHECK_CELLS)
    assert published.spec == TrialSpec.parse(
        {
            "model": "llama-2-7b",
            "method": "lora",
            "method_options": {
                "r": 4, "lora_alpha": 12, "lora_dropout": 0.25, "target_modules": ["q_proj", "v_proj"],
            },
            "quantization": "nf4",
            "double_quant": True,
            "precision": "fp16",
            "optimizer": "adamw-8bit",
            "batch_size": 3,
            "sequence_length": 96,
            "gradient_accumulation": 2,
            "gradient_checkpointing": "full",
            "attention": "sdpa-efficient",
            "padding_mask": False,
            "use_cache": False,
            "max_grad_norm": 0.0,
            "loop": "function",
        }
    )  # fmt: skip
    assert published.allocated_bytes == 1.5 * MIB
    assert published.reserved_bytes is None
    assert not published.completed


@pytest.mark.parametrize(
    ("changes", "attention"),
    [
        ({}, "sdpa-math"),
        ({"torch": "2.14.0+cu130"}, "sdpa"),
        ({"quantization_effective": "none"}, "sdpa"),
        ({"attention": "eager"}, "eager"),
        ({"model_id": "llama-2-7b"}, "sdpa"),  # its heads are not grouped
    ],
)
def test_a_row_of_canifinetune_takes_the_kernel_of_its_torch(changes, attention):
    published = canifinetune.published_row({**CANIFINETUNE_CELLS, **changes})
    assert published.spec.attention == attention
    assert published.steps == 3
    assert published.reserved_bytes == 1.5 * 2**30


def test_peaks_are_those_of_the_steps_that_were_recorded():
    ledger = Ledger(
        events=np.array([0, ~0, 1, ~1, 2, ~2], dtype=np.int32),
        sizes=np.array([40 * MIB, 10 * MIB, 30 * MIB]),
        owners=np.zeros(3, dtype=np.uint8),
        tensor_modules=np.zeros(3, dtype=np.int32),
        modules=("",),
        marks=(
            Mark(event=0, phase=Phase.LOAD, step=0),
            Mark(event=2, phase=Phase.FORWARD, step=0),
            Mark(event=4, phase=Phase.FORWARD, step=1),
        ),
        operators=None,
        facts={},
    )
    assert predict_peaks(ledger, row(first_step=None)).allocated_bytes == 40 * MIB
    assert predict_peaks(ledger, row(first_step=0)).allocated_bytes == 30 * MIB
    assert predict_peaks(ledger, row(first_step=1)).allocated_bytes == 30 * MIB
    late = predict_peaks(ledger, row(first_step=1, reserved_before_bytes=2 * MIB))
    assert late.reserved_bytes == 38 * MIB  # the segment of loading is still in the cache


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_table(tmp_path / "none.csv")


def test_the_summary_is_of_absolute_errors():
    assert Summary.of([-0.04, 0.01, 0.02]) == Summary(rows=3, median=0.02, p90=0.04, worst=0.04)
    assert Summary.of([n / 100 for n in range(1, 11)]).p90 == 0.09


def test_errors_are_positive_where_too_much_was_predicted():
    assert signed_error(110, 100) == pytest.approx(0.1)
    assert signed_error(90, 100) == pytest.approx(-0.1)


@pytest.mark.parametrize(("rows", "rank"), [(19, 1), (38, 1), (39, 2), (81, 4)])
def test_the_bounds_are_order_statistics_of_n_plus_1(rows, rank):
    residuals = [float(n) for n in range(1, rows + 1)]
    assert residual_interval(residuals[::-1], 0.9) == (rank, rows + 1 - rank)


def test_too_few_rows_give_no_interval():
    with pytest.raises(SizeupError, match="18 rows are too few"):
        residual_interval([0.0] * 18, 0.9)


def test_residuals_are_relative_to_the_prediction_and_leave_out_what_was_fitted():
    def scored(measured, **fields):
        return Scored(
            row=row(reserved_bytes=measured),
            reserved_bytes=200,
            allocated_bytes=None,
            verdict=None,
            failure=None,
            **fields,
        )

    rows = [*(scored(202) for _ in range(20)), scored(1000, is_reference=True), scored(None)]
    assert json.loads(residuals_text(rows)) == {
        "level": 0.9,
        "low": 0.01,
        "high": 0.01,
        "rows": 20,
        "source": "reserved memory, benchmarks/published_memory.py",
    }
