"""The model built from a skeleton is the one that transformers builds directly."""

from collections import defaultdict

import pytest
import torch
import transformers

from profiler.devices.tensor_bytes import TensorBytes
from profiler.errors import NotPossibleError, UnreachableError, UsageError
from profiler.measurement import Reason
from profiler.model_config import AUTO_CLASSES
from profiler.parameters import count_parameters
from profiler.spec import TrialSpec
from profiler.workload.config import load_config
from profiler.workload.model import build_model, skeleton
from tests.tiny_models import CONFIGS

CPU = torch.device("cpu")


@pytest.fixture(params=sorted(CONFIGS))
def pair(request, spec):
    """The model as we build it, and as transformers does."""
    made = spec(request.param)
    torch.manual_seed(0)
    built = build_model(made, CPU)
    torch.manual_seed(0)
    return built, AUTO_CLASSES[made.task].from_config(load_config(made), dtype=torch.float32)


def test_buffers_are_equal(pair):
    built, direct = (dict(model.named_buffers()) for model in pair)
    assert set(built) == set(direct)
    for name, buffer in direct.items():
        assert built[name].device.type == "cpu"
        assert built[name].dtype == buffer.dtype
        assert torch.equal(built[name], buffer), name


def test_parameters_have_the_same_shapes_types_and_spread(pair):
    built, direct = (dict(model.named_parameters()) for model in pair)
    assert list(built) == list(direct)
    for name, parameter in direct.items():
        found = built[name]
        assert found.isfinite().all(), name
        assert (found.shape, found.dtype, found.requires_grad) == (parameter.shape, parameter.dtype, True)
        if parameter.numel() < 2 or parameter.std() == 0:
            assert torch.equal(found, parameter), name
        elif parameter.numel() >= 1000:
            assert 0.8 < found.std() / parameter.std() < 1.25, name


def test_tied_weights_stay_one_tensor(pair):
    groups = []
    for model in pair:
        names = defaultdict(set)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            names[id(parameter)].add(name)
        groups.append({frozenset(shared) for shared in names.values()})
    assert groups[0] == groups[1]


def test_a_skeleton_takes_no_memory(spec):
    model, replaced = skeleton(spec())
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert replaced is None


def test_parts_that_stay_in_fp32(spec):
    """T5 keeps `wo` in fp32 when its weights are fp16 (transformers' `_keep_in_fp32_modules`)."""
    built = build_model(spec("t5", precision="fp16"), CPU)
    kinds = {name: parameter.dtype for name, parameter in built.named_parameters()}
    assert {kind for name, kind in kinds.items() if ".wo." in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if ".wi." in name} == {torch.float16}


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
def test_layers_are_quantised_and_the_head_is_not(quantization, spec, workload, run_step):
    built = build_model(spec(method="lora", quantization=quantization), CPU)
    kinds = {type(module).__name__ for module in built.model.layers[0].modules() if hasattr(module, "weight")}
    assert kinds == {"Linear8bitLt" if quantization == "int8" else "Linear4bit", "LlamaRMSNorm"}
    weight = built.model.layers[0].mlp.down_proj.weight
    assert weight.nbytes == (64 * 128 if quantization == "int8" else 64 * 128 // 2)
    assert weight.dtype == (torch.int8 if quantization == "int8" else torch.uint8)
    assert type(built.lm_head) is torch.nn.Linear
    made = workload(method="lora", quantization=quantization)
    counted = run_step(made)
    assert counted.samples == 2
    assert (
        count_parameters(made.model)["total_parameters"]
        == (count_parameters(workload(method="lora").model)["total_parameters"])
    )


def test_quantised_weights_are_those_of_a_normal_distribution(spec):
    from bitsandbytes.functional import dequantize_4bit

    built = build_model(spec(method="lora", quantization="nf4"), CPU)
    weight = built.model.layers[1].mlp.up_proj.weight
    values = dequantize_4bit(weight.data, weight.quant_state)
    assert values.shape == (128, 64)
    assert values.isfinite().all()
    assert 0.015 < values.std() < 0.025


def test_double_quantisation_quantises_the_scales(spec):
    for double_quant in (False, True):
        built = build_model(spec(method="lora", quantization="nf4", double_quant=double_quant), CPU)
        assert built.model.layers[0].mlp.up_proj.weight.quant_state.nested == double_quant


@pytest.mark.parametrize("kbit_prepare", [False, True])
def test_kbit_preparation_brings_what_is_not_quantised_to_fp32(kbit_prepare, workload):
    made = workload(method="lora", quantization="nf4", precision="bf16", kbit_prepare=kbit_prepare)
    norm = made.model.get_parameter("base_model.model.model.norm.weight")
    assert norm.dtype == (torch.float32 if kbit_prepare else torch.bfloat16)


def test_a_catalogue_model_has_its_exact_number_of_parameters():
    spec = TrialSpec.parse({"model": "smollm2-135m"})
    model, _ = skeleton(spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('{"model_type": "no-such-type"}', NotPossibleError, "cannot build .*no-such-type"),
        ('{"model_type": "llama", "hidden_size": "wide"}', NotPossibleError, "cannot build"),
        ("{", UsageError, "is not valid JSON"),
    ],
)
def test_a_configuration_that_cannot_be_built(text, error, says, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "llama"}')
    spec = TrialSpec.parse({"model": str(tmp_path)})
    config.write_text(text)
    with pytest.raises(error, match=says) as caught:
        skeleton(spec)
    assert "\n" not in str(caught.value)


def test_a_hub_model_that_cannot_be_had(monkeypatch):
    def refuse(*_arguments, **_settings):
        raise OSError("no network")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(NotPossibleError, match="the configuration of me/mine is not in the catalogue"):
        load_config(TrialSpec.parse({"model": "me/mine"}))


def test_a_hub_that_does_not_answer_may_answer_another_time(monkeypatch):
    def refuse(*_arguments, **_settings):
        raise OSError("We couldn't connect to the hub to load the files")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(UnreachableError, match="the hub cannot be reached"):
        load_config(TrialSpec.parse({"model": "me/mine"}))
    assert Reason.UNREACHABLE.is_transient


def test_a_tied_weight_is_made_once(spec):
    """Made twice and then tied, it would be in the peak of loading."""
    made, tensors = spec("llama-tied"), TensorBytes()
    with tensors.recording() as recorded:
        built = build_model(made, CPU)
    embedding = built.get_input_embeddings().weight
    assert built.get_output_embeddings().weight is embedding
    held = sum(parameter.nbytes for parameter in built.parameters())
    assert held <= recorded.peak_bytes(base_bytes=0) < held + embedding.nbytes
