from __future__ import annotations

import json

import pytest

from planner.trainer_files import read_trainer_file
from profiler.spec import TrialSpec

AXOLOTL = """\
base_model: NousResearch/Meta-Llama-3-8B  # any Llama
load_in_4bit: true

# what to learn from
datasets:
  - path: org/notes
    type: alpaca
val_set_size: 0.05

adapter: qlora
sequence_len: 4096
sample_packing: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
lora_target_modules:

micro_batch_size: 4  # per GPU
gradient_accumulation_steps: 2
optimizer: paged_adamw_8bit
learning_rate: 2e-4
bf16: auto
gradient_checkpointing: true
flash_attention: true
deepspeed:
special_tokens:
  pad_token: "<|end|>"
"""
LLAMA_FACTORY = """\
### model
model_name_or_path: meta-llama/Llama-3.2-1B

### method
stage: sft
finetuning_type: lora
lora_rank: 16
lora_target: q_proj, v_proj

### data
template: llama3
cutoff_len: 1024

### train
per_device_train_batch_size: 4
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
bf16: true
eval_strategy: no
"""
TRL = """\
model_name_or_path: meta-llama/Llama-3.2-1B
dataset_name: org/chats
use_peft: true
lora_r: 8
lora_target_modules: [q_proj, k_proj]
max_length: 2048
per_device_train_batch_size: 4
gradient_accumulation_steps: 4
"""
HUGGING_FACE = json.dumps(
    {
        "model_name_or_path": "meta-llama/Llama-3.2-1B",
        "output_dir": "out",
        "block_size": 512,
        "per_device_train_batch_size": 4,
        "bf16": True,
        "gradient_checkpointing": True,
        "optim": "adafactor",
    },
    indent=2,
)
EXAMPLES = {
    "axolotl": ("axolotl.yml", AXOLOTL),
    "llama-factory": ("factory.yaml", LLAMA_FACTORY),
    "trl": ("trl.yaml", TRL),
    "hugging-face": ("args.json", HUGGING_FACE),
}


@pytest.fixture
def read(tmp_path):
    """Write a text, or a mapping as JSON, and read it as a trainer's file."""

    def read(content, name=None):
        is_text = isinstance(content, str)
        path = tmp_path / (name or ("given.yaml" if is_text else "given.json"))
        path.write_text(content if is_text else json.dumps(content), encoding="utf-8")
        return read_trainer_file(path)

    return read


@pytest.fixture
def example(read):
    """Read one of the examples by the name of its format; return the file and its trial."""

    def example(kind):
        name, text = EXAMPLES[kind]
        source = read(text, name)
        return source, TrialSpec.parse(source.settings)

    return example
