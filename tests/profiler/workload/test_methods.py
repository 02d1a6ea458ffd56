"""Every training method trains what it should, on a tiny model."""

import peft
import pytest
import torch
import transformers
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from profiler.errors import NotPossibleError
from profiler.parameters import count_parameters
from profiler.workload import Workload
from profiler.workload.methods import apply_method
from profiler.workload.model import build_model

METHODS = sorted(kind.value.lower().replace("_", "-") for kind in PEFT_TYPE_TO_CONFIG_MAPPING)
# Where the defaults are for models with larger layers.
OPTIONS = {
    "c3a": {"block_size": 32},
    # The default types say that no token is updated.
    "cpt": {"cpt_token_ids": list(range(8)), "cpt_tokens_type_mask": [1, 2, 3, 4] * 2},
    "road": {"group_size": 16},
    "shira": {"r": 4},
    "vblora": {"vector_length": 32, "num_vectors": 16},
    "waveft": {"n_frequency": 64},
}


def trained_values(workload):
    return {
        name: parameter.detach().clone()
        for name, parameter in workload.model.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_installed_peft_trains(method, workload, run_step):
    made = workload(method=method, method_options=OPTIONS.get(method, {}))
    frozen = {
        name: parameter.detach().clone()
        for name, parameter in made.model.named_parameters()
        if not parameter.requires_grad
    }
    before = trained_values(made)
    counted = run_step(made)
    run_step(made, 1)
    assert (counted.samples, counted.tokens) == (2, 32)
    counts = count_parameters(made.model)
    assert 0 < counts["trainable_parameters"] < counts["total_parameters"]
    assert isinstance(made.model, peft.PeftModel)
    parameters = dict(made.model.named_parameters())
    assert all(torch.equal(value, parameters[name]) for name, value in frozen.items())
    after = trained_values(made)
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("method", ["lora", "ia3", "loha", "prompt-tuning", "oft"])
@pytest.mark.parametrize("model", ["llama", "llama-tied", "gpt-neox"])
def test_parameters_are_counted_as_peft_counts_them(method, model, workload, spec):
    options = {"num_virtual_tokens": 5} if method == "prompt-tuning" else {}
    made = workload(model, method=method, method_options=options)
    config = transformers.AutoConfig.from_pretrained(spec(model).model)
    plain = transformers.AutoModelForCausalLM.from_config(config)
    make = {kind.value: found for kind, found in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    direct = peft.get_peft_model(
        plain, make[method.upper().replace("-", "_")](task_type="CAUSAL_LM", **options)
    )
    expected = direct.get_nb_trainable_parameters()
    assert tuple(count_parameters(made.model).values()) == expected


def test_full_trains_everything(workload, run_step):
    made = workload(method="full", loop="raw")  # which keeps the gradients
    counts = count_parameters(made.model)
    assert counts["trainable_parameters"] == counts["total_parameters"]
    run_step(made)
    assert all(parameter.grad is not None for parameter in made.model.parameters())


@pytest.mark.parametrize(
    ("model", "method", "options", "trained"),
    [
        ("llama", "head", {}, {"lm_head.weight"}),
        ("llama-tied", "head", {}, {"model.embed_tokens.weight"}),
        ("bert", "head", {}, {"classifier.weight", "classifier.bias"}),
        ("vit", "head", {}, {"classifier.weight", "classifier.bias"}),
        ("llama", "freeze", {"layers": 1}, {"model.layers.1."}),
        ("bert", "freeze", {"layers": 1}, {"bert.encoder.layer.1.", "classifier."}),
        ("gpt2", "freeze", {"layers": 2}, {"transformer.h.0.", "transformer.h.1."}),
        ("t5", "freeze", {"layers": 1}, {"decoder.block.1."}),
    ],
)
def test_methods_without_adapters_train_what_they_name(model, method, options, trained, workload, run_step):
    made = workload(model, method=method, method_options=options)
    names = {name for name, parameter in made.model.named_parameters() if parameter.requires_grad}
    assert all(any(name.startswith(start) for start in trained) for name in names)
    assert all(any(name.startswith(start) for name in names) for start in trained)
    run_step(made)


@pytest.mark.parametrize("model", ["gpt2", "gpt-neox", "bert"])
def test_bitfit_trains_biases_and_a_fresh_head(model, workload, run_step):
    made = workload(model, method="bitfit")
    for name, parameter in made.model.named_parameters():
        assert parameter.requires_grad == (name.endswith("bias") or name.startswith("classifier")), name
    run_step(made)


@pytest.mark.parametrize(
    ("alias", "method", "settings"),
    [
        ("prefix", "prefix-tuning", {}),
        ("prompt", "prompt-tuning", {}),
        ("ln", "ln-tuning", {}),
        ("dora", "lora", {"method_options": {"use_dora": True}}),
        ("rslora", "lora", {"method_options": {"use_rslora": True}}),
        ("qlora", "lora", {"quantization": "nf4"}),
    ],
)
def test_an_alias_builds_what_it_stands_for(alias, method, settings, workload, run_step):
    short, long = workload(method=alias), workload(method=method, **settings)
    assert short.spec == long.spec
    assert repr(short.model) == repr(long.model)
    run_step(short)


def test_dora_has_magnitudes(workload):
    made = workload(method="dora")
    assert any("magnitude" in name for name, _ in made.model.named_parameters())


def test_an_adapter_for_a_classifier_trains_the_fresh_head(workload, run_step):
    for model in ("bert", "vit"):
        targets = ["query", "value"] if model == "bert" else "all-linear"
        made = workload(model, method="lora", method_options={"target_modules": targets})
        trained = [name for name, parameter in made.model.named_parameters() if parameter.requires_grad]
        assert any("classifier.modules_to_save" in name for name in trained)
        run_step(made)


def test_adalora_is_told_of_each_step(workload, run_step):
    options = {"total_step": 6, "tinit": 1, "tfinal": 1, "init_r": 8, "target_r": 2}
    made = workload(method="adalora", method_options=options)
    for index in range(6):
        run_step(made, index)
    assert made.model.peft_config["default"].rank_pattern


@pytest.mark.parametrize(
    ("model", "settings", "says"),
    [
        ("llama", {"method": "bitfit"}, "method bitfit finds nothing to train in .*llama"),
        ("llama", {"method": "prefix", "gradient_checkpointing": "full"}, "peft refuses prefix-tuning on"),
        ("llama", {"method": "freeze", "method_options": {"layers": 3}}, "has 2 layers, fewer than freeze"),
        ("llama", {"method": "freeze", "method_options": {"layers": 0}}, "at least 1, not 0"),
        ("llama", {"method": "freeze", "method_options": {"layers": True}}, "not True"),
        ("llama", {"method": "full", "quantization": "nf4"}, "nf4 weights cannot be trained"),
        ("llama", {"method": "full", "quantization": "int8"}, "int8 weights cannot be trained"),
        ("llama", {"method": "lora", "method_options": {"target_modules": ["x"]}}, "peft refuses lora on"),
        ("llama", {"method": "c3a", "method_options": {"block_size": 7}}, "peft refuses c3a on"),
        ("llama", {"optimizer": "lora-fa", "method": "full"}, "LoRA adapters, not method full"),
        ("llama", {"optimizer": "lora-plus", "method": "ia3"}, "LoRA adapters, not method ia3"),
        ("llama", {"parallel": "ddp", "world_size": 2}, "parallel ddp cannot be measured yet"),
        ("llama", {"loss_kernel": "liger"}, "liger is written in Triton and needs a CUDA device"),
        ("llama", {"attention": "flash-attention-2"}, "transformers cannot build .* FlashAttention2"),
        ("gpt2", {"sequence_length": 65}, "has 64 positions, fewer than a sequence of 65 tokens"),
        ("gpt2", {"lengths": [8, 65]}, "has 64 positions, fewer than a sequence of 65 tokens"),
        ("gpt2", {"lengths": {8: 1, 65: 1}}, "has 64 positions, fewer than a sequence of 65 tokens"),
        ("vit", {"task": "causal-lm"}, "transformers cannot build .* for causal-lm"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_one_sentence(model, settings, says, spec):
    with pytest.raises(NotPossibleError, match=says) as caught:
        Workload(spec(model, **settings), torch.device("cpu"))
    assert "\n" not in str(caught.value)


def test_a_missing_target_is_told_how_to_name_it(spec):
    # peft knows no default targets of this type.
    with pytest.raises(NotPossibleError, match="target_modules=all-linear"):
        Workload(spec("swin", method="ia3"), torch.device("cpu"))


def test_rotary_positions_have_no_end(workload, run_step):
    run_step(workload(sequence_length=300, batch_size=1))


def test_apply_method_returns_the_model_it_was_given(spec):
    built = build_model(spec(), torch.device("cpu"))
    assert apply_method(built, spec(method="head")) is built
