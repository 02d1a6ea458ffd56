import pytest

from profiler.errors import UsageError
from profiler.spec import TrialSpec

TRL = {"model_name_or_path": "meta-llama/Llama-3.2-1B", "dataset_train_split": "train"}
PLAIN = {"model_name_or_path": "meta-llama/Llama-3.2-1B", "per_device_train_batch_size": 2}


def reasons(file):
    return {found.key: found.reason for found in file.ignored.not_understood}


def test_an_example_of_trl(example):
    source, spec = example("trl")
    assert source.format == "trl"
    assert spec == TrialSpec.parse(
        {
            "model": "meta-llama/Llama-3.2-1B",
            "method": "lora",
            # r 8 and no dropout would be peft's; alpha and dropout are TRL's own defaults.
            "method_options": {
                "lora_alpha": 32,
                "lora_dropout": 0.05,
                "target_modules": ["q_proj", "k_proj"],
            },
            "sequence_length": 2048,
            "batch_size": 4,
            "gradient_accumulation": 4,
            "optimizer": "adamw-fused",
            "precision": "amp-bf16",
            "gradient_checkpointing": "full",
            "use_cache": False,
        }
    )
    assert source.ignored.without_effect == ("dataset_name",)
    assert any("chunked_nll" in note for note in source.notes)


def test_an_example_of_training_arguments(example):
    source, spec = example("hugging-face")
    assert source.format == "hugging-face"
    assert spec == TrialSpec.parse(
        {
            "model": "meta-llama/Llama-3.2-1B",
            "sequence_length": 512,
            "batch_size": 4,
            "optimizer": "adafactor",
            "precision": "bf16",
            "gradient_checkpointing": "full",
            "use_cache": False,
        }
    )


def test_defaults_are_those_of_trl(read):
    settings = read(TRL).settings
    assert settings["batch_size"] == 8
    assert settings["sequence_length"] == 1024
    assert settings["precision"] == "amp-bf16"
    assert settings["gradient_checkpointing"] == "full"


def test_defaults_are_those_of_transformers(read):
    file = read({"num_train_epochs": 1})
    assert file.settings["batch_size"] == 8
    assert file.settings["gradient_checkpointing"] == "none"
    assert file.settings["optimizer"] == "adamw-fused"
    assert not {"model", "method", "sequence_length"} & set(file.settings)
    notes = " ".join(file.notes)
    assert "name no method" in notes
    assert "names no model" in notes
    assert "names no length" in notes


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"dtype": "bfloat16"}, {"precision": "bf16"}),
        ({"torch_dtype": "bfloat16", "bf16": True}, {"precision": "bf16"}),
        ({"dtype": "auto"}, {"precision": "bf16"}),
        ({"dtype": "float16", "bf16": False}, {"precision": "fp16"}),
        ({"fp16": True}, {"precision": "amp-fp16"}),
        ({"bf16": False}, {"precision": "fp32"}),
        ({"use_peft": True, "lora_target_modules": ["all-linear"], "lora_r": 8, "lora_alpha": 8,
          "lora_dropout": 0}, {"method": "lora", "method_options": {"target_modules": "all-linear"}}),
        ({"use_peft": True, "load_in_4bit": True}, {"quantization": "nf4", "double_quant": False}),
        ({"use_peft": True, "load_in_4bit": True, "use_bnb_nested_quant": True, "bnb_4bit_quant_type": "fp4"},
         {"quantization": "fp4", "double_quant": True}),
        ({"use_peft": True, "load_in_8bit": True}, {"quantization": "int8"}),
        ({"max_seq_length": 256}, {"sequence_length": 256}),
        ({"packing": True}, {"padding_mask": True}),
        ({"packing": True, "attn_implementation": "flash_attention_2"}, {"padding_mask": False}),
        ({"packing": True, "packing_strategy": "wrapped"}, {"padding_mask": False}),
        ({"padding_free": True, "attn_implementation": "flash_attention_2"}, {"padding_mask": False}),
        ({"gradient_checkpointing": False}, {"gradient_checkpointing": "none"}),
        ({"activation_checkpointing": False, "gradient_checkpointing": True},
         {"gradient_checkpointing": "none"}),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, {"reentrant": True}),
        ({"gradient_checkpointing_kwargs": '{"use_reentrant": true}'}, {"reentrant": True}),
        ({"use_liger_kernel": True}, {"loss_kernel": "liger"}),
        ({"use_liger_kernel": True, "liger_kernel_config": {"fused_linear_cross_entropy": False}},
         {"loss_kernel": "standard"}),
        ({"torch_compile_mode": "max-autotune"}, {"compile": True}),
        ({"torch_empty_cache_steps": 4}, {"empty_cache_every": 4}),
        ({"use_cache": True}, {"use_cache": True}),
        ({"max_grad_norm": 0}, {"max_grad_norm": 0.0}),
        ({"eval_strategy": "epoch"}, {"evaluation_batch_size": 8}),
        ({"do_eval": True, "per_device_eval_batch_size": 2}, {"evaluation_batch_size": 2}),
        ({"optim": "lion_8bit"}, {"optimizer": "lion-8bit"}),
        ({"optim": "paged_adamw_32bit"}, {"optimizer": "paged-adamw"}),
    ],
)  # fmt: skip
def test_what_keys_of_trl_mean(read, keys, expected):
    settings = read({**TRL, **keys}).settings
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"bf16": True, "dtype": "float32"}, "amp-bf16"),
        ({"bf16": False, "dtype": "float32"}, "fp32"),
        ({"bf16": True}, "bf16"),
        ({}, "bf16"),
    ],
)
def test_precision_of_training_arguments(read, keys, expected):
    assert read({**PLAIN, **keys}).settings["precision"] == expected


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ({"max_length": None}, "max_length", "1024 tokens are assumed"),
        ({"optim": "galore_adamw"}, "optim", "adamw-fused is assumed"),
        ({"loss_type": "dft"}, "loss_type", "nll is assumed"),
        ({"dtype": "float8"}, "dtype", "bfloat16 is assumed"),
        ({"attn_implementation": "flex_attention"}, "attn_implementation", "attention auto is assumed"),
        ({"attn_implementation": "flash_attention_3"}, "attn_implementation", "flash-attention-2 is assumed"),
        ({"gradient_checkpointing_kwargs": {"offload": True}}, "gradient_checkpointing_kwargs",
         "use_reentrant"),
        ({"activation_offloading": True}, "activation_offloading", "offloading"),
        ({"beta": 0.1}, "beta", "no key of trl"),
        ({"use_liger_kernel": True, "liger_kernel_config": {"fused_linear_cross_entropy": False}},
         "use_liger_kernel", "other kernels"),
    ],
)  # fmt: skip
def test_what_is_not_understood_says_what_is_assumed(read, keys, key, says):
    assert says in reasons(read({**TRL, **keys}))[key]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"load_in_4bit": True, "load_in_8bit": True},
            "load_in_8bit must be false where load_in_4bit",
        ),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "int4"}, "bnb_4bit_quant_type must be nf4 or fp4"),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": "maybe"}}, "use_reentrant is true or false"),
        ({"gradient_checkpointing_kwargs": "{"}, "must be a mapping of settings"),
        ({"optim": 3}, "optim must be a text, not 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(read, keys, says):
    with pytest.raises(UsageError) as error:
        read({**TRL, **keys})
    assert says in str(error.value)
