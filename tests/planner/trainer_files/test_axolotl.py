import pytest

from profiler.errors import UsageError
from profiler.spec import TrialSpec

BASE = {"base_model": "meta-llama/Llama-3.2-1B", "micro_batch_size": 2}


@pytest.fixture
def settings(read):
    return lambda **keys: dict(read({**BASE, **keys}).settings)


def reasons(file):
    return {found.key: found.reason for found in file.ignored.not_understood}


def test_an_example(example):
    source, spec = example("axolotl")
    assert source.format == "axolotl"
    assert spec == TrialSpec.parse(
        {
            "model": "NousResearch/Meta-Llama-3-8B",
            "method": "lora",
            "method_options": {
                "r": 32,
                "lora_alpha": 16,
                "lora_dropout": 0.05,
                "target_modules": "all-linear",
            },
            "quantization": "nf4",
            "double_quant": True,
            "sequence_length": 4096,
            "padding_mask": False,
            "batch_size": 4,
            "gradient_accumulation": 2,
            "optimizer": "paged-adamw-8bit",
            "precision": "bf16",
            "gradient_checkpointing": "full",
            "reentrant": True,
            "attention": "flash-attention-2",
            "use_cache": False,
            "evaluation_batch_size": 4,
        }
    )
    assert set(source.ignored.without_effect) >= {"datasets", "learning_rate", "deepspeed", "special_tokens"}
    assert source.ignored.not_understood == ()
    assert any("taken as full" in note for note in source.notes)


def test_defaults_are_those_of_axolotl(settings):
    assert settings() | {"model": ""} == {
        "model": "",
        "method": "full",
        "precision": "bf16",
        "attention": "auto",
        "sequence_length": 512,
        "padding_mask": True,
        "batch_size": 2,
        "gradient_accumulation": 1,
        "optimizer": "adamw-fused",
        "gradient_checkpointing": "none",
        "reentrant": False,
        "loss_kernel": "standard",
        "max_grad_norm": 1.0,
        "compile": False,
        "empty_cache_every": 0,
        "use_cache": False,
    }


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"fp16": True}, {"precision": "fp16"}),
        ({"bf16": False}, {"precision": "fp32"}),
        ({"bf16": "full"}, {"precision": "bf16"}),
        ({"bf16": False, "load_in_8bit": True, "adapter": "lora"}, {"precision": "fp16"}),
        ({"load_in_8bit": True, "adapter": "lora"}, {"quantization": "int8", "method": "lora"}),
        ({"adapter": "qlora", "load_in_4bit": True, "bnb_config_kwargs": {"bnb_4bit_quant_type": "fp4"}},
         {"quantization": "fp4", "double_quant": True}),
        ({"adapter": "lora", "lora_r": 8, "peft_use_dora": True, "lora_target_modules": ["q_proj"]},
         {"method_options": {"use_dora": True, "target_modules": ("q_proj",)}}),
        ({"adapter": "lora", "lora_modules_to_save": ["lm_head"], "peft_layers_to_transform": [0, 1]},
         {"method_options": {"modules_to_save": ("lm_head",), "layers_to_transform": (0, 1)}}),
        ({"gradient_checkpointing": True}, {"gradient_checkpointing": "full", "reentrant": True}),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
         {"gradient_checkpointing": "full", "reentrant": False}),
        ({"attn_implementation": "sdpa"}, {"attention": "sdpa"}),
        ({"eager_attention": True}, {"attention": "eager"}),
        ({"sample_packing": True, "sdp_attention": True}, {"padding_mask": True}),
        ({"batch_size": 8}, {"gradient_accumulation": 4}),
        ({"gc_steps": 10}, {"empty_cache_every": 10}),
        ({"gc_steps": -1}, {"empty_cache_every": 0}),
        ({"loraplus_lr_ratio": 16}, {"optimizer": "lora-plus"}),
        ({"torch_compile": "auto"}, {"compile": True}),
        ({"test_datasets": [{"path": "x"}], "eval_batch_size": 3}, {"evaluation_batch_size": 3}),
        ({"liger_fused_linear_cross_entropy": True, "plugins": ["axolotl.integrations.liger.LigerPlugin"]},
         {"loss_kernel": "liger"}),
    ],
)  # fmt: skip
def test_what_keys_mean(settings, keys, expected):
    read = settings(**keys)
    assert {name: read[name] for name in expected} == expected


def test_no_evaluation_where_it_is_turned_off(settings):
    assert "evaluation_batch_size" not in settings(val_set_size=0.1, eval_strategy="no")


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"fsdp_config": {"fsdp_version": 2}}, "fsdp_config", "one GPU"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size", "one GPU"),
        ({"rl": "dpo"}, "rl", "supervised"),
        ({"adapter": "llama-adapter"}, "adapter", "training of every parameter is assumed"),
        ({"optimizer": "muon"}, "optimizer", "adamw-fused is assumed"),
        ({"flex_attention": True}, "attn_implementation", "flex_attention is not modelled"),
        ({"gradient_checkpointing": "offload"}, "gradient_checkpointing", "offloading"),
        ({"liger_fused_linear_cross_entropy": True}, "liger_fused_linear_cross_entropy", "LigerPlugin"),
        ({"plugins": ["my.Plugin"]}, "plugins", "my.Plugin"),
        ({"cut_cross_entropy": True}, "cut_cross_entropy", "may be lower"),
        ({"loraplus_lr_ratio": 16, "optimizer": "adamw_bnb_8bit"}, "loraplus_lr_ratio", "AdamW only"),
        ({"no_such_key": 1}, "no_such_key", "no key of axolotl"),
    ],
)
def test_what_is_not_understood_says_what_is_assumed(read, keys, key, says):
    assert says in reasons(read({**BASE, **keys}))[key]


def test_what_is_off_has_no_effect(read):
    file = read({**BASE, "fsdp": None, "tensor_parallel_size": 1, "rl": "", "cut_cross_entropy": False})
    assert file.ignored.not_understood == ()
    assert "tensor_parallel_size" in file.ignored.without_effect


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"micro_batch_size": "four"}, "micro_batch_size must be a whole number of at least 1, not 'four'"),
        ({"micro_batch_size": True}, "micro_batch_size must be a whole number"),
        ({"gradient_checkpointing": "often"}, "gradient_checkpointing must be true, false, offload"),
        ({"bf16": "yes"}, "bf16 must be true, false, auto or full"),
        ({"adapter": "lora", "lora_target_modules": [1]}, "must be a text or a list of texts"),
        ({"max_grad_norm": -1}, "max_grad_norm must be a number of at least 0"),
        ({"adapter": "qlora", "bnb_config_kwargs": {"bnb_4bit_quant_type": "int3"}}, "nf4 or fp4"),
        ({"gradient_checkpointing_kwargs": "x"}, "must be a mapping of settings"),
        ({"load_in_8bit": "no"}, "load_in_8bit must be true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(read, keys, says):
    with pytest.raises(UsageError, match=r"^.*given\.json: ") as error:
        read({**BASE, **keys})
    assert says in str(error.value)
