"""Hypothesis strategies for the settings of a trial, spelled as people may spell them."""

from typing import get_args

from hypothesis import strategies as st

from profiler.spec.trial import Attention, Optimizer, Precision, Quantization

METHODS = [
    ("full", {}),
    ("head", {}),
    ("bitfit", {}),
    ("freeze", {"layers": 3}),
    ("lora", {}),
    ("lora", {"r": 16, "lora_alpha": 32.0, "lora_dropout": 0.05, "target_modules": ["q_proj", "v_proj"]}),
    ("lora", {"target_modules": "all-linear", "rank_pattern": {"q_proj": 4}}),
    ("LoRA", {"init_lora_weights": False, "layers_to_transform": None}),
    ("dora", {"r": 4}),
    ("rslora", {}),
    ("qlora", {}),
    ("prefix", {"num_virtual_tokens": 8}),
    ("prefix_tuning", {}),
    ("prompt", {}),
    ("ln", {}),
    ("ia3", {}),
    ("trainable-tokens", {"token_indices": [1, 2]}),
]
COUNTS = st.integers(1, 4096)


def _without_contradictions(settings):
    if not isinstance(settings.get("lengths"), dict):
        settings.pop("packing", None)
    if settings["model"] == "vit-base":
        settings.pop("lengths", None)
        settings.pop("packing", None)
    if settings.get("parallel", "none") == "none":
        settings.pop("world_size", None)
    if settings.get("method") == "qlora" and settings.get("quantization") == "none":
        del settings["quantization"]
    return settings


def _with_method(settings, method):
    return settings if method is None else {**settings, "method": method[0], "method_options": method[1]}


SETTINGS = st.builds(
    _with_method,
    st.fixed_dictionaries(
        {"model": st.sampled_from(["gpt2", "GPT2", "pythia-70m", "bert-base-uncased", "vit-base", "me/my"])},
        optional={
            "task": st.sampled_from(["causal-lm", "sequence-classification"]),
            "quantization": st.sampled_from(get_args(Quantization)),
            "double_quant": st.booleans(),
            "kbit_prepare": st.booleans(),
            "precision": st.sampled_from(get_args(Precision)),
            "optimizer": st.sampled_from(get_args(Optimizer)),
            "batch_size": COUNTS,
            "sequence_length": COUNTS,
            "lengths": st.one_of(
                st.lists(COUNTS, min_size=1, max_size=3),
                st.dictionaries(st.one_of(COUNTS, COUNTS.map(str)), COUNTS, min_size=1, max_size=3),
            ),
            "lengths_seed": st.integers(0, 9),
            "packing": st.booleans(),
            "gradient_accumulation": COUNTS,
            "gradient_checkpointing": st.sampled_from(["none", "full"]),
            "reentrant": st.booleans(),
            "attention": st.sampled_from(get_args(Attention)),
            "padding_mask": st.booleans(),
            "loss_kernel": st.sampled_from(["standard", "liger"]),
            "use_cache": st.sampled_from(["auto", True, False]),
            "compile": st.booleans(),
            "max_grad_norm": st.one_of(st.integers(0, 5), st.floats(0, 1e6), st.just(-0.0)),
            "loop": st.sampled_from(["trainer", "raw"]),
            "empty_cache_every": st.integers(0, 9),
            "allocator": st.sampled_from(["default", "expandable"]),
            "parallel": st.sampled_from(["none", "ddp", "fsdp2"]),
            "world_size": st.integers(1, 8),
            "evaluation_batch_size": st.one_of(st.none(), COUNTS),
            "save": st.booleans(),
        },
    ),
    st.one_of(st.none(), st.sampled_from(METHODS)),
).map(_without_contradictions)  # fmt: skip
