"""Configurations of models small enough that a training step takes milliseconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_DECODER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 256}
_ROTARY = {**_DECODER, "intermediate_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 256}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **_ROTARY},
    "llama-tied": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, **_ROTARY,
    },
    "llama-scaled": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "head_dim": 16,
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        },
        **_ROTARY,
    },
    "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **_ROTARY},
    "gemma2": {
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 16, "sliding_window": 32,
        **_ROTARY,
    },
    "gemma3": {
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "head_dim": 16,
        "sliding_window": 32, **_ROTARY,
    },
    "gpt2": {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_layer": 2, "n_head": 4,
        "vocab_size": 256, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0,
    },
    "gpt-neox": {
        "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "intermediate_size": 128,
        "max_position_embeddings": 256, **_DECODER,
    },
    "opt": {
        "model_type": "opt", "architectures": ["OPTForCausalLM"], "ffn_dim": 128, "word_embed_proj_dim": 64,
        "max_position_embeddings": 64, **_DECODER,
    },
    "bloom": {
        "model_type": "bloom", "architectures": ["BloomForCausalLM"], "hidden_size": 64, "n_layer": 2,
        "n_head": 4, "vocab_size": 256,
    },
    "mamba": {
        "model_type": "mamba", "architectures": ["MambaForCausalLM"], "hidden_size": 64, "state_size": 4,
        "num_hidden_layers": 2, "vocab_size": 256,
    },
    "bert": {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "intermediate_size": 128,
        "max_position_embeddings": 64, **_DECODER,
    },
    "deberta": {
        "model_type": "deberta-v2", "architectures": ["DebertaV2ForMaskedLM"], "intermediate_size": 128,
        "max_position_embeddings": 64, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], **_DECODER,
    },
    "vit": {
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "image_size": 32,
        "patch_size": 8,
    },
    "swin": {
        "model_type": "swin", "architectures": ["SwinForImageClassification"], "image_size": 32,
        "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4,
    },
    "t5": {
        "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 64, "d_kv": 16,
        "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 256, "decoder_start_token_id": 0,
    },
}  # fmt: skip


def write_model(folder: Path, name: str) -> str:
    """Write the configuration `name` into a folder of its own under `folder`, and return that folder."""
    model = folder / name
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIGS[name]))
    return str(model)
