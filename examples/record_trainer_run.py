"""Record the peaks and step times of a Hugging Face Trainer run into the store.

    python examples/record_trainer_run.py

It trains a small model with random weights on random tokens for a few steps, which takes seconds on a CPU.
Afterwards `sizeup results --origin imported:trainer` shows the row.
"""

from __future__ import annotations

from profiler.callback import ProfilerCallback

recorder = ProfilerCallback(name="example")  # before the model is built

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments  # noqa: E402

from profiler.catalog import find_model  # noqa: E402

config = AutoConfig.for_model(**find_model("pythia-14m").config)
model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
tokens = [torch.randint(0, config.vocab_size, (64,)) for _ in range(64)]
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        "unused", per_device_train_batch_size=4, max_steps=8, report_to=[], save_strategy="no"
    ),
    train_dataset=[{"input_ids": ids, "labels": ids} for ids in tokens],
    callbacks=[recorder],
)
trainer.train()
if recorder.error is not None:
    raise SystemExit(f"not recorded: {recorder.error}")
