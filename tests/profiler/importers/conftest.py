from __future__ import annotations

import copy

import pytest

RESULT = {
    "run_info": {
        "created_at": "2026-07-15T07:08:29+00:00",
        "total_time": 100.5,
        "experiment_name": "lora/rank64",
        "train_config": {
            "model_id": "meta-llama/Llama-3.2-3B", "dtype": "bfloat16", "max_seq_length": 768,
            "batch_size": 4, "compile": False, "use_gc": False, "grad_norm_clip": 1.0,
            "optimizer_type": "AdamW", "optimizer_kwargs": {"lr": 0.0001}, "use_amp": False,
            "autocast_adapter_dtype": True, "attn_implementation": None,
        },
        "peft_config": {
            "task_type": "CAUSAL_LM", "peft_type": "LORA", "peft_version": "0.19.2.dev0@UNKNOWN",
            "base_model_name_or_path": "meta-llama/Llama-3.2-3B", "r": 64, "lora_alpha": 128,
            "lora_dropout": 0.0, "bias": "none", "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {}, "megatron_config": None, "use_dora": False,
        },
        "error_msg": "",
    },
    "train_info": {
        "accelerator_memory_max": 22552772608, "train_time": 60.0, "num_trainable_params": 18350080,
        "num_total_params": 3231099904, "status": "success",
        "metrics": [
            {"step": 250, "train samples": 1000, "train time": 30.0, "tokens / sec": 7000.0,
             "mem allocated avg": 7.0e9, "valid accuracy": 0.3, "train loss": 0.9},
            {"step": 500, "train samples": 2000, "train time": 25.0, "tokens / sec": 8400.0,
             "mem allocated avg": 7.2e9, "valid accuracy": 0.4, "train loss": 0.7},
            {"step": 750, "train samples": 3000, "train time": 27.5, "tokens / sec": 7500.0,
             "mem allocated avg": 7.1e9, "valid accuracy": 0.4, "train loss": 0.6},
            {"step": 750, "test accuracy": 0.45, "train samples": 3000, "train total tokens": 630600,
             "train loss": 0.6},
        ],
    },
    "meta_info": {
        "package_info": {
            "transformers-version": "5.13.1", "peft-version": "0.19.2.dev0", "bitsandbytes-version": None,
            "torch-version": "2.13.0+cu130",
        },
        "system_info": {"system": "Linux", "machine": "x86_64", "accelerator": "NVIDIA L40S"},
    },
}  # fmt: skip


@pytest.fixture
def result():
    """The content of one result file of PEFT's method comparison, yours to change."""
    return copy.deepcopy(RESULT)
