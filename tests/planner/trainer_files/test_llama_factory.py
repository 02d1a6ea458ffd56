import pytest

from profiler.errors import UsageError
from profiler.spec import TrialSpec

BASE = {"model_name_or_path": "meta-llama/Llama-3.2-1B", "stage": "sft", "bf16": True}


@pytest.fixture
def settings(read):
    return lambda **keys: dict(read({**BASE, **keys}).settings)


def reasons(file):
    return {found.key: found.reason for found in file.ignored.not_understood}


def test_an_example(example):
    source, spec = example("llama-factory")
    assert source.format == "llama-factory"
    assert spec == TrialSpec.parse(
        {
            "model": "meta-llama/Llama-3.2-1B",
            "method": "lora",
            "method_options": {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]},
            "sequence_length": 1024,
            "batch_size": 4,
            "gradient_accumulation": 8,
            "optimizer": "adamw-fused",
            "precision": "bf16",
            "gradient_checkpointing": "full",
            "reentrant": True,
            "use_cache": False,
        }
    )
    assert set(source.ignored.without_effect) == {"template", "learning_rate"}
    assert source.ignored.not_understood == ()


def test_defaults_are_those_of_llama_factory(settings):
    read = settings()
    assert (read["batch_size"], read["sequence_length"], read["kbit_prepare"]) == (8, 2048, False)
    assert read["method"] == "lora"
    assert read["method_options"] == {"lora_alpha": 16, "target_modules": "all-linear"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"finetuning_type": "full"}, {"precision": "amp-bf16"}),
        ({"finetuning_type": "full", "pure_bf16": True}, {"precision": "bf16"}),
        ({"finetuning_type": "full", "bf16": False}, {"precision": "fp32"}),
        ({"bf16": False, "fp16": True}, {"precision": "fp16"}),
        ({"bf16": False}, {"precision": "bf16"}),
        ({"finetuning_type": "freeze"}, {"method": "freeze", "method_options": {"layers": 2}}),
        ({"finetuning_type": "oft", "oft_target": "q_proj"},
         {"method": "oft", "method_options": {"target_modules": ("q_proj",)}}),
        ({"additional_target": "embed_tokens,lm_head", "use_rslora": True},
         {"method_options": {"lora_alpha": 16, "target_modules": "all-linear", "use_rslora": True,
                             "modules_to_save": ("embed_tokens", "lm_head")}}),
        ({"quantization_bit": 4}, {"quantization": "nf4", "double_quant": True}),
        ({"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False},
         {"quantization": "fp4", "double_quant": False}),
        ({"quantization_bit": 8, "quantization_method": "bitsandbytes"}, {"quantization": "int8"}),
        ({"flash_attn": False}, {"attention": "eager"}),
        ({"flash_attn": "fa2", "neat_packing": True},
         {"attention": "flash-attention-2", "padding_mask": False}),
        ({"neat_packing": True}, {"padding_mask": True}),
        ({"packing": True}, {"padding_mask": False}),
        ({"stage": "pt"}, {"padding_mask": False}),
        ({"disable_gradient_checkpointing": True}, {"gradient_checkpointing": "none"}),
        ({"use_reentrant_gc": False}, {"gradient_checkpointing": "full", "reentrant": False}),
        ({"enable_liger_kernel": True}, {"loss_kernel": "liger"}),
        ({"loraplus_lr_ratio": 16.0}, {"optimizer": "lora-plus"}),
        ({"eval_strategy": "steps", "per_device_eval_batch_size": 1}, {"evaluation_batch_size": 1}),
    ],
)  # fmt: skip
def test_what_keys_mean(settings, keys, expected):
    read = settings(**keys)
    assert {name: read[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"stage": "dpo"}, "stage", "sft is assumed"),
        (
            {"quantization_bit": 4, "quantization_method": "hqq"},
            "quantization_method",
            "bitsandbytes is assumed",
        ),
        ({"quantization_bit": 2, "quantization_method": "hqq"}, "quantization_bit", "4 are assumed"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": -3}, "freeze_trainable_layers", "last 3"),
        ({"use_galore": True}, "use_galore", "GaLore"),
        ({"flash_attn": "fa3"}, "flash_attn", "flash-attention-2 is assumed"),
        ({"use_unsloth_gc": True}, "use_unsloth_gc", "offloading"),
        ({"deepspeed": "z3.json"}, "deepspeed", "one GPU"),
    ],
)
def test_what_is_not_understood_says_what_is_assumed(read, keys, key, says):
    assert says in reasons(read({**BASE, **keys}))[key]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"finetuning_type": "magic"}, "finetuning_type must be lora, oft, freeze or full, not 'magic'"),
        ({"quantization_bit": "four"}, "quantization_bit must be a whole number"),
        ({"quantization_bit": 4, "quantization_type": "int4"}, "quantization_type must be nf4 or fp4"),
        ({"cutoff_len": 0}, "cutoff_len must be a whole number of at least 1, not 0"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": "two"}, "freeze_trainable_layers must be"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(read, keys, says):
    with pytest.raises(UsageError) as error:
        read({**BASE, **keys})
    assert says in str(error.value)
