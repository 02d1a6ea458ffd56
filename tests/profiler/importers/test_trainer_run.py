import json
import os
import pickle
import shutil
import types
import zipfile

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from profiler.errors import UsageError
from profiler.importers import add_to_store, read_trainer_run
from profiler.importers.training_arguments import read_training_arguments
from profiler.store import Store
from tests.tiny_models import write_model

STATED = {"method": "full", "sequence_length": 16}
CARD = "### Framework versions\n\n- PEFT 0.20.0\n- Transformers: 5.13.1\n- Pytorch 2.13.0+cu130\n"
LOG = [
    {"loss": 2.0, "step": 5, "memory/max_allocated (GiB)": 2.5, "memory/device_reserved (GiB)": 3.0},
    {"eval_loss": 1.5, "eval_runtime": 4.0, "step": 5},
    {"loss": 1.0, "step": 10, "memory/max_allocated (GiB)": 2.25, "memory/device_reserved (GiB)": 3.5,
     "num_tokens": 8000.0},
    {"train_runtime": 24.0, "train_samples_per_second": 3.3, "train_loss": 1.5, "step": 10},
]  # fmt: skip
ADAPTER = {
    "peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.2-1B", "r": 16, "lora_dropout": 0.0,
    "target_modules": ["q_proj"], "peft_version": "0.20.0",
}  # fmt: skip


def save_arguments(path, **arguments):
    torch.save(TrainingArguments(str(path.parent), report_to=[], use_cpu=True, **arguments), path)


class RandomTokens(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        ids = torch.randint(0, 256, (16,))
        return {"input_ids": ids, "labels": ids}


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    """The output folder of a real run."""
    folder = tmp_path_factory.mktemp("runs") / "run-1"
    model_folder = write_model(tmp_path_factory.mktemp("model"), "llama")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_folder))
    arguments = TrainingArguments(
        str(folder), max_steps=4, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
        per_device_train_batch_size=2, gradient_accumulation_steps=2, optim="adafactor", max_grad_norm=0.5,
        gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False},
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=RandomTokens())
    trainer.train()
    trainer.save_state()
    trainer.save_model()
    return folder


def test_a_real_run(real_run):
    reading = read_trainer_run(real_run, STATED)
    assert not reading.refused
    (row,) = reading.measurements
    spec = row.spec
    assert (spec.model, spec.method, spec.quantization) == (str(real_run), "full", "none")
    assert (spec.batch_size, spec.gradient_accumulation, spec.sequence_length) == (2, 2, 16)
    assert (spec.optimizer, spec.max_grad_norm, spec.precision, spec.loop) == (
        "adafactor", 0.5, "fp32", "trainer",
    )  # fmt: skip
    assert (spec.gradient_checkpointing, spec.reentrant) == ("full", False)
    assert (row.device, row.sweep, row.origin) == ("cpu", "run-1", "imported:trainer-state")
    assert row.figures["steps_timed"] == 4
    state = json.loads((real_run / "trainer_state.json").read_text())
    runtime = state["log_history"][-1]["train_runtime"]
    assert row.figures["step_seconds_median"] == pytest.approx(runtime / 4)
    assert row.environment.facts["transformers_version"]


def test_the_same_run_comes_in_once(real_run, tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        assert add_to_store(read_trainer_run(real_run, STATED), store).added == 1
        again = add_to_store(read_trainer_run(real_run / "trainer_state.json", STATED), store)
        assert (again.added, again.already_there, again.changed) == (0, 1, 0)


@pytest.fixture
def run(tmp_path):
    """A run with an adapter, whose log has axolotl's memory figures."""
    folder = tmp_path / "run-2"
    (folder / "checkpoint-10").mkdir(parents=True)
    state = {"global_step": 10, "log_history": LOG, "best_metric": None}
    (folder / "checkpoint-10" / "trainer_state.json").write_text(json.dumps(state))
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    (folder / "README.md").write_text(CARD)
    save_arguments(folder / "training_args.bin", per_device_train_batch_size=4, bf16=True)
    return folder


@pytest.fixture
def edit(run):
    """Call this to change the state of the run."""

    def change(**changes):
        path = run / "checkpoint-10" / "trainer_state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


ADAPTER_RUN = {"precision": "bf16", "quantization": "none"}


def test_a_checkpoint_an_adapter_and_a_card(run):
    (row,) = read_trainer_run(run, ADAPTER_RUN).measurements
    assert (row.spec.model, row.spec.method) == ("meta-llama/Llama-3.2-1B", "lora")
    assert row.spec.method_options == {"r": 16, "target_modules": ("q_proj",)}
    assert row.spec.sequence_length == 8000 / (10 * 4)
    assert row.environment.facts == {
        "peft_version": "0.20.0", "transformers_version": "5.13.1", "torch_version": "2.13.0+cu130",
    }  # fmt: skip
    assert row.figures == {
        "peak_allocated_bytes": 2.5 * 2**30, "peak_reserved_bytes": 3.5 * 2**30,
        "step_seconds_median": (24 - 4) / 10, "steps_timed": 10, "samples_per_second": 3.3,
        "metric_name": "eval_loss", "metric_value": 1.5,
    }  # fmt: skip


def test_the_memory_metrics_of_the_trainer(run, edit):
    memory = {
        "before_init_mem_gpu": 1000, "init_mem_gpu_alloc_delta": 200, "train_mem_gpu_alloc_delta": 30,
        "train_mem_gpu_peaked_delta": 4,
    }  # fmt: skip
    edit(log_history=[{**LOG[-1], **memory, "num_tokens": 10}])
    (row,) = read_trainer_run(run, ADAPTER_RUN).measurements
    assert row.figures["peak_allocated_bytes"] == 1234


def test_what_nothing_says_is_listed(run):
    (run / "training_args.bin").unlink()
    (refused,) = read_trainer_run(run).refused
    assert refused.row == "run-2"
    assert refused.reason == (
        "its files do not say precision, quantization, optimizer, batch_size, gradient_accumulation, "
        "gradient_checkpointing, sequence_length, device; state what is missing with --set"
    )


def test_what_is_stated_overrides_the_files(run):
    (row,) = read_trainer_run(run, {**ADAPTER_RUN, "batch_size": 2, "device_name": "NVIDIA L4"}).measurements
    assert (row.spec.batch_size, row.spec.sequence_length) == (2, 400)
    assert row.environment.facts["device_name"] == "NVIDIA L4"


def test_a_quantised_model(run):
    config = {"dtype": "bfloat16", "quantization_config": {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
    }}  # fmt: skip
    (run / "config.json").write_text(json.dumps(config))
    (row,) = read_trainer_run(run).measurements
    assert (row.spec.quantization, row.spec.double_quant, row.spec.precision) == ("nf4", True, "bf16")


def test_several_devices_are_refused(run):
    arguments = read_training_arguments(run / "training_args.bin")
    assert arguments.per_device_train_batch_size == 4
    arguments.processes = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("profiler.importers.trainer_run.read_training_arguments", lambda _path: arguments)
        (refused,) = read_trainer_run(run, ADAPTER_RUN).refused
    assert "several devices" in refused.reason


def test_a_run_that_was_resumed_has_no_time(run):
    save_arguments(run / "training_args.bin", per_device_train_batch_size=4, resume_from_checkpoint="there")
    (row,) = read_trainer_run(run, ADAPTER_RUN).measurements
    assert not {"step_seconds_median", "steps_timed"} & set(row.figures)


def test_the_best_metric(run, edit):
    save_arguments(
        run / "training_args.bin", per_device_train_batch_size=4, metric_for_best_model="eval_accuracy"
    )
    edit(best_metric=0.75)
    (row,) = read_trainer_run(run, ADAPTER_RUN).measurements
    assert (row.figures["metric_name"], row.figures["metric_value"]) == ("eval_accuracy", 0.75)


def test_a_folder_of_runs(run):
    shutil.copytree(run, run.parent / "run-1")
    reading = read_trainer_run(run.parent, ADAPTER_RUN)
    assert sorted(row.sweep for row in reading.measurements) == ["run-1", "run-2"]


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        read_trainer_run(tmp_path)
    with pytest.raises(UsageError, match="no file or folder"):
        read_trainer_run(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"log_history": [3]}', '{"log_history": null}'])
def test_a_state_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "trainer_state.json").write_text(text)
    (refused,) = read_trainer_run(tmp_path).refused
    assert "trainer_state.json" in refused.reason


class Harmful:
    """Unpickled as it was meant, it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def archive(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("training_args/data.pkl", content)


def test_nothing_in_the_arguments_is_executed(tmp_path):
    needed = vars(TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)) | {
        "output_dir": Harmful(tmp_path / "made"), "distributed_state": None,
    }  # fmt: skip
    arguments = types.SimpleNamespace(**needed)
    archive(tmp_path / "training_args.bin", pickle.dumps(arguments))
    read = read_training_arguments(tmp_path / "training_args.bin")
    assert read.per_device_train_batch_size == 8
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(Harmful(tmp_path / "made")))
    assert (tmp_path / "made").exists()  # it is harmful indeed


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps({"a": 1}), pickle.dumps(Harmful("x"))])
def test_arguments_that_are_none_are_refused(tmp_path, content):
    archive(tmp_path / "training_args.bin", content)
    with pytest.raises(UsageError, match="holds no arguments"):
        read_training_arguments(tmp_path / "training_args.bin")
    (tmp_path / "training_args.bin").write_bytes(content)
    with pytest.raises(UsageError, match="holds no arguments"):
        read_training_arguments(tmp_path / "training_args.bin")
