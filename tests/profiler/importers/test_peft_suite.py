import contextlib
import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.importers import add_to_store, read_peft
from profiler.importers.peft_suite import measurement_of
from profiler.measurement import Outcome, Reason
from profiler.spec import TrialSpec
from profiler.store import Store
from tests.profiler.importers.conftest import RESULT


def test_a_result_is_a_measurement_with_what_it_states(result):
    row = measurement_of(result)
    assert row.spec == TrialSpec.parse(
        {
            "model": "meta-llama/Llama-3.2-3B",
            "method": "lora",
            "method_options": {"r": 64, "lora_alpha": 128, "target_modules": ["q_proj", "v_proj"]},
            "batch_size": 4,
            "sequence_length": 210,
            "loop": "raw",
            "empty_cache_every": 10,
        }
    )
    assert (row.origin, row.device, row.outcome, row.sweep) == (
        "imported:peft", "cuda", Outcome.OK, "lora/rank64",
    )  # fmt: skip
    assert row.environment.facts == {
        "device_name": "NVIDIA L40S", "torch_version": "2.13.0+cu130", "cuda_version": "13.0",
        "transformers_version": "5.13.1", "peft_version": "0.19.2.dev0", "platform": "Linux x86_64",
    }  # fmt: skip
    assert row.measured_at == datetime(2026, 7, 15, 7, 8, 29, tzinfo=UTC)
    assert row.figures == {
        "peak_reserved_bytes": 22552772608, "resident_bytes": 7_100_000_000,
        "step_seconds_median": 0.11, "steps_timed": 750,
        "samples_per_second": pytest.approx(3000 / 82.5),
        "tokens_per_second_nonpad": pytest.approx((210_000 + 210_000 + 206_250) / 82.5),
        "trainable_parameters": 18350080, "total_parameters": 3231099904, "metric_name": "test accuracy",
        "metric_value": 0.45, "metric_n": 1319, "trial_seconds": 100.5,
    }  # fmt: skip


def test_without_adapter_the_whole_model_is_trained(result):
    result["run_info"]["peft_config"] = None
    spec = measurement_of(result).spec
    assert (spec.method, dict(spec.method_options)) == ("full", {})


@pytest.mark.parametrize(
    ("setting", "value", "field", "meant"),
    [
        ("optimizer_type", "lora-fa", "optimizer", "lora-fa"),
        ("optimizer_kwargs", {"lr": 1e-4, "fused": True}, "optimizer", "adamw-fused"),
        ("dtype", "float32", "precision", "fp32"),
        ("use_gc", True, "gradient_checkpointing", "full"),
        ("attn_implementation", "eager", "attention", "eager"),
        ("grad_norm_clip", 0, "max_grad_norm", 0.0),
        ("autocast_adapter_dtype", False, "autocast_adapter_dtype", False),
    ],
)
def test_settings_of_training(result, setting, value, field, meant):
    result["run_info"]["train_config"][setting] = value
    assert getattr(measurement_of(result).spec, field) == meant


def test_autocast_of_fp32_weights_is_in_fp16(result):
    result["run_info"]["train_config"] |= {"dtype": "float32", "use_amp": True}
    assert measurement_of(result).spec.precision == "amp-fp16"


@pytest.mark.parametrize(
    ("part", "key", "value", "sentence"),
    [
        ("train_config", "dtype", "int4", "dtype is 'int4'"),
        ("train_config", "optimizer_type", "NAdam", "optimizer_type is 'NAdam'"),
        ("train_config", "use_amp", True, "autocast"),
        ("train_config", "batch_size", "four", "batch_size"),
        ("peft_config", "peft_type", "NEWEST", "unknown method 'newest'"),
        ("peft_config", "peft_type", None, "peft_type must be a text"),
        ("peft_config", "wings", 4, "unknown option of lora 'wings'"),
    ],
)
def test_what_no_trial_expresses_is_refused(result, part, key, value, sentence):
    result["run_info"][part][key] = value
    with pytest.raises(UsageError, match=sentence):
        measurement_of(result)


def test_an_oom_claims_no_peak(result):
    result["train_info"] |= {"status": "canceled"}
    result["run_info"]["error_msg"] = "CUDA out of memory. Tried to allocate 2.00 GiB."
    row = measurement_of(result)
    assert (row.outcome, row.reason, dict(row.figures)) == (Outcome.OOM, Reason.CUDA_OOM, {})


def test_a_failure_keeps_its_message(result):
    result["train_info"] |= {"status": "canceled"}
    result["run_info"]["error_msg"] = "mat1 and mat2 shapes cannot be multiplied"
    row = measurement_of(result)
    assert (row.outcome, row.reason) == (Outcome.FAILED, Reason.ERROR)
    assert row.message == "mat1 and mat2 shapes cannot be multiplied"


def test_a_run_that_was_canceled_is_refused(result):
    result["train_info"] |= {"status": "canceled"}
    result["run_info"]["error_msg"] = "manually canceled"
    with pytest.raises(UsageError, match="was canceled"):
        measurement_of(result)


def test_memory_and_accuracy_that_are_not_there_are_absent(result):
    del result["train_info"]["accelerator_memory_max"]
    del result["train_info"]["metrics"][-1]["test accuracy"]
    figures = measurement_of(result).figures
    assert not {"peak_reserved_bytes", "metric_name", "metric_value", "metric_n"} & set(figures)


def test_results_of_before_the_renaming(result):
    result["train_info"]["cuda_memory_max"] = result["train_info"].pop("accelerator_memory_max")
    result["meta_info"]["system_info"]["gpu"] = result["meta_info"]["system_info"].pop("accelerator")
    row = measurement_of(result)
    assert row.figures["peak_reserved_bytes"] == 22552772608
    assert row.environment.facts["device_name"] == "NVIDIA L40S"


def test_lengths_follow_from_the_windows_where_no_total_is_there(result):
    result["train_info"]["metrics"].pop()
    assert measurement_of(result).spec.sequence_length == round((210_000 + 210_000 + 206_250) / 3000)


@pytest.mark.parametrize("keep", [0, -1])
def test_a_result_without_windows_is_refused(result, keep):
    result["train_info"]["metrics"] = result["train_info"]["metrics"][keep:][:1] if keep else []
    with pytest.raises(UsageError, match=r"it counts no tokens|no windows"):
        measurement_of(result)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for key, item in enumerate(value):
            yield from leaves(item, (*path, key))
    yield path


@given(
    st.sampled_from([path for path in leaves(RESULT) if path]),
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.text(max_size=3), st.just([]), st.just({})),
)
def test_whatever_a_document_holds_is_a_measurement_or_refused(path, value):
    document = copy.deepcopy(RESULT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with contextlib.suppress(UsageError):
        assert measurement_of(document).origin == "imported:peft"


@pytest.fixture
def clone(tmp_path, result):
    """A clone of peft with one good result, one of another layout and one that is no JSON."""
    folder = tmp_path / "peft" / "method_comparison" / "MetaMathQA" / "results"
    folder.mkdir(parents=True)
    (folder / "good.json").write_text(json.dumps(result))
    (folder / "image.json").write_text(json.dumps({"run_info": {}}))
    (folder / "cut.json").write_text('{"run_info": ')
    return tmp_path / "peft"


def test_each_file_that_is_no_result_is_named_and_the_others_come_in(clone):
    reading = read_peft(clone)
    assert len(reading.measurements) == 1
    assert [refused.row for refused in reading.refused] == ["cut.json", "image.json"]
    assert reading.refused[0].reason == "it is not JSON"
    assert "train_info is missing" in reading.refused[1].reason


def test_a_folder_and_a_file_can_be_named_too(clone):
    folder = clone / "method_comparison" / "MetaMathQA" / "results"
    assert read_peft(folder).measurements == read_peft(clone).measurements
    assert read_peft(folder / "good.json").measurements == read_peft(clone).measurements


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_nothing_to_read_is_said(tmp_path, missing):
    with pytest.raises(UsageError, match=r"no file or folder|holds no results"):
        read_peft(tmp_path / missing)


def test_importing_twice_adds_nothing(clone, tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        first, second = (add_to_store(read_peft(clone), store) for _ in range(2))
        assert (first.added, first.already_there, first.changed) == (1, 0, 0)
        assert (second.added, second.already_there, second.changed) == (0, 1, 0)
        assert list(store.measurements()) == []
        assert len(list(store.measurements(origins=("imported:peft",)))) == 1


def test_a_row_that_now_reads_otherwise_stays_and_is_counted(clone, tmp_path, result):
    with Store.open(tmp_path / "store.db") as store:
        add_to_store(read_peft(clone), store)
        result["train_info"]["accelerator_memory_max"] = 1
        (clone / "method_comparison" / "MetaMathQA" / "results" / "good.json").write_text(json.dumps(result))
        report = add_to_store(read_peft(clone), store)
        assert (report.added, report.already_there, report.changed) == (0, 1, 1)
        (row,) = store.measurements(origins=("imported:peft",))
        assert row.figures["peak_reserved_bytes"] == 22552772608


def test_another_run_of_the_same_experiment_is_another_row(clone, tmp_path, result):
    with Store.open(tmp_path / "store.db") as store:
        add_to_store(read_peft(clone), store)
        result["run_info"]["created_at"] = "2026-08-01T00:00:00+00:00"
        (clone / "again.json").write_text(json.dumps(result))
        assert add_to_store(read_peft(clone / "again.json"), store).added == 1


@pytest.mark.parametrize("name", ["", "a b", "x:y", "ü", "a" * 101])
def test_names_of_origins(clone, name):
    with pytest.raises(UsageError, match="name of an import"):
        read_peft(clone, name=name)
