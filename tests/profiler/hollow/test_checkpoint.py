"""What is written loads as the installed transformers expects, and holds nothing."""

import json

import pytest
import torch
import transformers
from safetensors import safe_open

from profiler.catalog import models as catalogue
from profiler.errors import NotPossibleError
from profiler.hollow.checkpoint import write_hollow_checkpoint
from profiler.hollow.folder import MARKER
from profiler.hollow.substitution import weights
from profiler.spec.normalize import TASK_OF_MODEL
from tests.tiny_models import CONFIGS

_DECODER = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 256,
}  # fmt: skip
# Their checkpoints name the weights of each expert, and the models have them in one.
EXPERTS = {
    "mixtral": {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 4, **_DECODER,
    },
    "qwen3-moe": {
        "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16, **_DECODER,
    },
}  # fmt: skip
TINY = {**CONFIGS, **EXPERTS}


def load(made, **settings):
    """Load a hollow checkpoint; it must say that every weight was there."""
    kind = getattr(transformers, made.architecture)
    model, info = kind.from_pretrained(made.folder, output_loading_info=True, **settings)
    assert not any(info.values()), {name: keys for name, keys in info.items() if keys}
    return model


@pytest.fixture
def hollow(tmp_path):
    """Call this to write the hollow checkpoint of a tiny model."""

    def write(name, **changes):
        source = tmp_path / "source"
        source.mkdir()
        (source / "config.json").write_text(json.dumps({**TINY[name], **changes}))
        return write_hollow_checkpoint(str(source), tmp_path / "hollow")

    return write


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_family_loads_and_every_weight_is_zero(hollow, name):
    made = hollow(name)
    assert made.architecture == TINY[name]["architectures"][0]
    model = load(made)
    assert sum(parameter.numel() for parameter in model.parameters()) == made.parameters
    assert all(parameter.count_nonzero() == 0 for parameter in model.parameters())


@pytest.mark.parametrize("name", ["llama-tied", "mixtral", "gpt2", "t5"])
def test_the_header_is_that_of_a_checkpoint_that_transformers_saves(hollow, name, tmp_path):
    made = hollow(name)
    load(made).save_pretrained(tmp_path / "saved")
    described = []
    for folder in (made.folder, tmp_path / "saved"):
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            described.append(
                {
                    key: (file.get_slice(key).get_dtype(), file.get_slice(key).get_shape())
                    for key in file.keys()  # noqa: SIM118  # it is no mapping
                }
            )
            assert file.metadata() == {"format": "pt"}
    assert described[0] == described[1]


def test_weights_have_the_type_of_the_configuration(hollow):
    made = hollow("llama", dtype="float16")
    assert made.dtype == "float16"
    assert load(made).dtype == torch.float16


def test_a_model_of_the_hub_is_split_as_on_the_hub_and_takes_no_disk(tmp_path):
    made = write_hollow_checkpoint("unsloth/Llama-3.2-3B", tmp_path / "hollow")
    assert (made.model, made.architecture) == ("meta-llama/Llama-3.2-3B", "LlamaForCausalLM")
    index = json.loads((made.folder / "model.safetensors.index.json").read_text())
    # As on the hub: two files, and nothing of the embedding's twin, the head.
    assert set(index["weight_map"].values()) == {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    assert "lm_head.weight" not in index["weight_map"]
    assert index["metadata"]["total_size"] == 2 * made.parameters == 6_425_499_648
    assert made.apparent_bytes > 6_425_499_648
    assert made.disk_bytes < 16 * 2**20
    assert set(made.files) == {path.name for path in made.folder.iterdir()}
    generation = transformers.GenerationConfig.from_pretrained(made.folder)
    assert generation.eos_token_id == 128001


def test_the_marker_says_what_it_is(hollow):
    made = hollow("llama")
    marker = json.loads((made.folder / MARKER).read_text())
    assert marker["what"].startswith("a hollow checkpoint")
    assert marker["model"] == made.model
    assert "holds no weights" in (made.folder / "README.md").read_text()


def test_a_vision_model_has_an_image_processor_and_no_tokenizer(hollow):
    made = hollow("vit")
    processor = json.loads((made.folder / "preprocessor_config.json").read_text())
    assert processor["size"] == {"height": 32, "width": 32}
    assert "tokenizer.json" not in made.files


def test_what_cannot_be_built_is_a_sentence_and_leaves_nothing(hollow, tmp_path):
    with pytest.raises(NotPossibleError, match="cannot build"):
        hollow("llama", num_attention_heads=7)
    assert not (tmp_path / "hollow").exists()


FAMILIES = {
    (model.config["model_type"], model.config.get("vocab_size")): model.id
    for model in catalogue().values()
    if model.task in TASK_OF_MODEL
}


@pytest.mark.slow
@pytest.mark.parametrize("model_id", sorted(FAMILIES.values()))
def test_every_family_of_the_catalogue_loads(model_id, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.modeling_utils, "safe_open", transformers.modeling_utils.safe_open)
    loading = transformers.core_model_loading
    monkeypatch.setattr(loading, "_materialize_copy", loading._materialize_copy)
    weights.guard_reading(transformers.modeling_utils)
    weights.guard_conversion(loading)
    made = write_hollow_checkpoint(model_id, tmp_path)
    facts = catalogue()[model_id]
    assert made.parameters == (facts.built_parameters or facts.parameters)
    load(made, device_map="meta")
    if "vocab_size" in facts.config:
        assert len(transformers.AutoTokenizer.from_pretrained(tmp_path)) == facts.config["vocab_size"]
