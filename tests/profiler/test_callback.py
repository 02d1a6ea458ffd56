"""A real HF Trainer run of a tiny model, recorded."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from profiler.callback import ORIGIN, ProfilerCallback
from profiler.devices.tensor_bytes import TensorBytes
from profiler.errors import UsageError
from profiler.measurement import Outcome
from profiler.store import Store
from profiler.trainer_spec import spec_of_run
from tests.tiny_models import write_model

STEPS = 6


class RandomTokens(torch.utils.data.Dataset):
    """Samples of random tokens, of the given lengths in turn."""

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(0, 256, (self._lengths[index % len(self._lengths)],))
        return {"input_ids": ids, "labels": ids}


def train(tmp_path, callback, *, lengths=(16,), method="lora", **settings):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(write_model(tmp_path, "llama")))
    if method == "lora":
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4))
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=STEPS, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, **{"per_device_train_batch_size": 1, **settings},
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=RandomTokens(*lengths), callbacks=[callback]).train()
    return model, arguments


def test_a_run_leaves_one_row(tmp_path):
    callback = ProfilerCallback(tmp_path / "store.db", name="mine", skip_steps=2)
    model, _ = train(tmp_path, callback, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert callback.error is None
    with Store.open(tmp_path / "store.db") as store:
        assert list(store.measurements()) == []  # another origin than that of the harness
        (row,) = store.measurements(origins=(ORIGIN,))
    assert row == callback.measurement
    assert (row.outcome, row.sweep, row.device) == (Outcome.OK, "mine", "cpu")
    assert row.figures["steps_timed"] == len(row.step_seconds) == STEPS - 2
    assert row.figures["trainable_parameters"] == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )
    spec = row.spec
    assert (spec.method, spec.batch_size, spec.gradient_accumulation) == ("lora", 4, 2)
    assert (spec.sequence_length, spec.precision, spec.loop) == (16, "fp32", "trainer")
    assert spec.method_options["r"] == 4


def test_peak_memory_is_left_out_when_the_model_was_there_before(tmp_path):
    held = torch.zeros(2**20)
    assert TensorBytes().live_bytes() >= held.nbytes
    callback = ProfilerCallback(tmp_path / "store.db", skip_steps=0)
    train(tmp_path, callback)
    assert callback.measurement is not None
    assert "peak_process_bytes" not in callback.measurement.figures


def test_varied_lengths_become_a_histogram(tmp_path):
    callback = ProfilerCallback(tmp_path / "store.db")
    train(tmp_path, callback, lengths=(16, 8))
    assert callback.measurement is not None
    assert set(callback.measurement.spec.lengths) == {"16", "8"}


def test_a_store_that_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / "store.db").write_text("these are notes, and no database")
    callback = ProfilerCallback(tmp_path / "store.db")
    train(tmp_path, callback)
    assert callback.error is not None
    assert (tmp_path / "store.db").read_text() == "these are notes, and no database"


def test_too_short_a_run_leaves_no_row(tmp_path):
    callback = ProfilerCallback(tmp_path / "store.db", skip_steps=STEPS)
    train(tmp_path, callback)
    assert callback.measurement is None
    assert not (tmp_path / "store.db").exists()


def test_an_optimizer_that_no_trial_has_is_named(tmp_path):
    model, arguments = train(tmp_path, ProfilerCallback(tmp_path / "store.db"), method="full")
    arguments.optim = "adagrad"
    with pytest.raises(UsageError, match="adagrad"):
        spec_of_run(model, arguments, [16])


def test_models_without_a_name_are_told_apart(tmp_path):
    _, arguments = train(tmp_path, ProfilerCallback(tmp_path / "store.db"))
    config = AutoConfig.from_pretrained(write_model(tmp_path, "llama"))
    names = []
    for layers in (1, 2):
        config.num_hidden_layers = layers
        config._name_or_path = ""
        names.append(spec_of_run(AutoModelForCausalLM.from_config(config), arguments, [16]).model)
    assert names[0] != names[1]
    assert all(name.startswith("unnamed/llama-") for name in names)


def test_steps_to_skip_cannot_be_negative():
    with pytest.raises(ValueError, match="at least 0"):
        ProfilerCallback(skip_steps=-1)
