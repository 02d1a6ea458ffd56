import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.spec import TrialSpec
from profiler.spec.frozen import canonical_json

GPT2 = "openai-community/gpt2"


def parse(**given_settings):
    return TrialSpec.parse({"model": "gpt2", **given_settings})


def refusal(**given_settings):
    with pytest.raises(UsageError) as caught:
        parse(**given_settings)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert not any(word in sentence for word in ("Traceback", "Error", "pydantic", "validat", "errors.py"))
    return sentence


# A stored key must stay what it is: adding a field, or a default, may not change any of these.
@pytest.mark.parametrize(
    ("given_settings", "key", "canonical"),
    [
        ({"model": "gpt2"}, "85fd49a3c3f84f4b", '{"model":"openai-community/gpt2","task":"causal-lm"}'),
        (
            {
                "model": "llama-3.2-3b",
                "method": "qlora",
                "method_options": {"target_modules": ["q_proj", "v_proj"], "r": 16, "lora_dropout": 0.05},
                "batch_size": 4,
                "gradient_checkpointing": "full",
                "optimizer": "paged-adamw-8bit",
            },
            "f8e0126a7a5516d7",
            '{"batch_size":4,"gradient_checkpointing":"full","method":"lora",'
            '"method_options":{"lora_dropout":0.05,"r":16,"target_modules":["q_proj","v_proj"]},'
            '"model":"meta-llama/Llama-3.2-3B","optimizer":"paged-adamw-8bit","quantization":"nf4",'
            '"task":"causal-lm"}',
        ),
        (
            {
                "model": "bert-base-uncased",
                "lengths": {512: 2, 64: 10},
                "max_grad_norm": 0,
                "precision": "fp32",
            },
            "2c42c7c525b6e722",
            '{"lengths":{"512":2,"64":10},"max_grad_norm":0.0,"model":"google-bert/bert-base-uncased",'
            '"precision":"fp32","task":"sequence-classification"}',
        ),
    ],
)
def test_pinned_keys(given_settings, key, canonical):
    spec = TrialSpec.parse(given_settings)
    assert canonical_json(spec.canonical) == canonical
    assert spec.key == key


@pytest.mark.parametrize(
    ("spelling", "same_as"),
    [
        ({"model": "GPT2"}, {"model": GPT2}),
        ({"method": "LoRA"}, {"method": "lora"}),
        ({"method": "prefix"}, {"method": "prefix-tuning"}),
        (
            {"method": "PREFIX_TUNING"},
            {"method": "prefix-tuning", "method_options": {"num_virtual_tokens": 20}},
        ),
        ({"method": "prompt"}, {"method": "prompt-tuning"}),
        ({"method": "ln"}, {"method": "ln-tuning"}),
        ({"method": "dora"}, {"method": "lora", "method_options": {"use_dora": True}}),
        (
            {"method": "dora", "method_options": {"r": 4}},
            {"method": "lora", "method_options": {"use_dora": True, "r": 4}},
        ),
        ({"method": "rslora"}, {"method": "lora", "method_options": {"use_rslora": True}}),
        ({"method": "qlora"}, {"method": "lora", "quantization": "nf4"}),
        ({"method": "qlora", "quantization": "fp4"}, {"method": "lora", "quantization": "fp4"}),
        ({"method": "freeze"}, {"method": "freeze", "method_options": {"layers": 2}}),
        ({"batch_size": None, "lengths": None}, {}),
        ({"lengths": {128: 1, "128": 2}}, {"lengths": {"128": 3}}),
        ({"model_fingerprint": "made-up"}, {}),
    ],
)
def test_spellings_of_one_spec(spelling, same_as):
    assert parse(**spelling) == parse(**same_as)
    assert parse(**spelling).key == parse(**same_as).key


@pytest.mark.parametrize(
    ("idle", "needs"),
    [
        ({"double_quant": True}, {"quantization": "nf4"}),
        ({"kbit_prepare": False}, {"quantization": "int8"}),
        ({"reentrant": True}, {"gradient_checkpointing": "full"}),
        ({"lengths_seed": 3}, {"lengths": {128: 1}}),
        ({"sequence_length": 64}, {}),
    ],
)
def test_settings_without_effect_are_dropped(idle, needs):
    without = {"lengths": [128]} if "sequence_length" in idle else {}
    assert parse(**without, **idle) == parse(**without)
    assert parse(**needs, **idle) != parse(**needs)


def test_sequence_length_is_what_packing_fills():
    assert parse(lengths={128: 1}, sequence_length=64) == parse(lengths={128: 1})
    assert parse(lengths={128: 1}, packing=True, sequence_length=64) != parse(lengths={128: 1}, packing=True)


def test_double_quantisation_is_of_four_bit_weights():
    assert parse(quantization="int8", double_quant=True) == parse(quantization="int8")


def test_an_image_has_no_tokens():
    image = TrialSpec.parse({"model": "vit-base"})
    assert image == TrialSpec.parse({"model": "vit-base", "sequence_length": 64, "padding_mask": False})
    assert image.tokens_per_step is None
    assert "lengths are those of texts" in refusal(model="vit-base", lengths=[128])


def test_defaults_are_omitted():
    defaults = {
        name: field.default
        for name, field in TrialSpec.model_fields.items()
        if name not in ("model", "method_options")
    }
    assert parse(**defaults, method_options={}).canonical == {"model": GPT2, "task": "causal-lm"}


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("gpt2", "causal-lm"),
        ("bert-base-uncased", "sequence-classification"),
        ("deberta-v3-base", "sequence-classification"),
        ("t5-small", "seq2seq-lm"),
        ("vit-base", "image-classification"),
        ("dinov2-small", "image-classification"),
        ("somebody/something", "causal-lm"),
    ],
)
def test_the_task_is_what_the_model_is_for(model, task):
    assert TrialSpec.parse({"model": model}).task == task


def test_a_task_that_is_not_the_models_own_survives():
    spec = TrialSpec.parse({"model": "bert-base-uncased", "task": "causal-lm"})
    assert spec.with_changes(batch_size=2).task == "causal-lm"
    assert TrialSpec.parse(spec.canonical).task == "causal-lm"
    assert spec.with_changes(model="t5-small").task == "seq2seq-lm"


def test_with_changes():
    spec = parse(method="lora", batch_size=2)
    assert spec.with_changes(batch_size=4) == parse(method="lora", batch_size=4)
    assert spec.with_changes(batch_size=None) == parse(method="lora")
    assert spec.batch_size == 2
    with pytest.raises(UsageError, match="batch_size must be at least 1, not 0"):
        spec.with_changes(batch_size=0)


@pytest.mark.parametrize(
    ("given_settings", "tokens"),
    [
        ({"batch_size": 4, "sequence_length": 128, "gradient_accumulation": 2}, 1024),
        ({"lengths": {64: 1}, "packing": True, "sequence_length": 256}, 256),
        ({"lengths": {64: 1}}, None),
        ({"lengths": [64, 128]}, None),
    ],
)
def test_tokens_per_step(given_settings, tokens):
    assert parse(**given_settings).tokens_per_step == tokens


def test_label():
    spec = parse(method="dora", batch_size=4, compile=True)
    assert str(spec) == 'gpt2 method=lora method_options={"use_dora":true} batch_size=4 compile=true'


@pytest.mark.parametrize(
    ("given_settings", "says"),
    [
        ({"model": None}, "model is missing: give a catalogue name, a hub id or a folder"),
        ({"model": ""}, "model must be a catalogue name, a hub id or a folder with a config.json, not ''"),
        ({"model": 3}, "model must be a catalogue name, a hub id or a folder with a config.json, not 3"),
        ({"model": "gpt3"}, "unknown model 'gpt3'; did you mean gpt2?"),
        ({"model": "llama-3.2-3c"}, "did you mean llama-3.2-3b"),
        ({"model": "./nowhere"}, "no folder './nowhere'; a model folder holds a config.json"),
        ({"model": "~nobody-at-all/model"}, "no folder '~nobody-at-all/model'"),
        ({"model": "x\0y"}, "unknown model"),
        ({"model": "x" * 5000}, "unknown model"),
        (
            {"model": "whisper-tiny"},
            "openai/whisper-tiny is a speech-seq2seq model, which is not measurable yet",
        ),
        ({"task": "causal"}, "task must be 'causal-lm', 'sequence-classification'"),
        ({"method": "lorra"}, "unknown method 'lorra'; did you mean lora"),
        ({"method": 3}, "method must be a text, not 3"),
        (
            {"method": "lora", "method_options": [1]},
            "method_options must be a mapping, such as {r: 32}, not [1]",
        ),
        ({"method": "lora", "method_options": {"rnk": 2}}, "unknown option of lora 'rnk'"),
        ({"method": "lora", "method_options": {0: 2}}, "an option of lora must be named by a text, not 0"),
        ({"method": "lora", "method_options": {"r": {0: 1}}}, "method_options: the key 0 is not a string"),
        (
            {"method": "lora", "method_options": {"r": float("nan")}},
            "method_options: nan is not a finite number",
        ),
        ({"method": "lora", "method_options": {"r": b"x"}}, "method_options: b'x' is not a JSON value"),
        ({"method": "lora", "method_options": {"r": {1}}}, "method_options: {1} is not a JSON value"),
        (
            {"method": "full", "method_options": {"r": 8}},
            "unknown option of full 'r' (options of full: none)",
        ),
        (
            {"method": "freeze", "method_options": {"layer": 8}},
            "did you mean layers? (options of freeze: layers)",
        ),
        ({"method": "dora", "method_options": {"use_dora": False}}, "method dora means use_dora=True, but"),
        ({"method": "qlora", "quantization": "none"}, "method qlora means a quantised model"),
        (
            {"quantization": "nf5"},
            "quantization must be 'none', 'int8', 'nf4' or 'fp4', not 'nf5'; did you mean nf4?",
        ),
        ({"quantization": ["nf4"]}, "quantization must be 'none', 'int8', 'nf4' or 'fp4', not ['nf4']"),
        ({"precision": "bfloat16"}, "precision must be 'bf16'"),
        ({"optimizer": "adam"}, "did you mean adamw?"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": "4"}, "batch_size must be a whole number, not '4'"),
        ({"batch_size": 4.0}, "batch_size must be a whole number, not 4.0"),
        ({"batch_size": True}, "batch_size must be a whole number, not True"),
        ({"batch_size": 2**31}, "batch_size must be at most 2147483647, not 2147483648"),
        ({"lengths": []}, "lengths must name at least one length"),
        ({"lengths": {}}, "lengths must name at least one length"),
        ({"lengths": 512}, "lengths must be a list of lengths, such as [512, 128], or a histogram"),
        ({"lengths": "512"}, "lengths must be a list of lengths"),
        ({"lengths": [512, 0]}, "a length must be a whole number from 1 to 2147483647, not 0"),
        ({"lengths": {"²": 1}}, "a length must be a whole number from 1 to 2147483647, not '²'"),
        ({"lengths": {128: -1}}, "a count of length 128 must be a whole number from 1 to 2147483647, not -1"),
        ({"lengths_seed": -1}, "lengths_seed must be at least 0, not -1"),
        ({"packing": True}, "packing needs lengths as a histogram, such as {128: 10, 512: 2}"),
        ({"packing": True, "lengths": [128]}, "packing needs lengths as a histogram"),
        ({"padding_mask": "yes"}, "padding_mask must be true or false, not 'yes'"),
        ({"compile": 1}, "compile must be true or false, not 1"),
        ({"use_cache": "never"}, "use_cache must be"),
        ({"max_grad_norm": -1}, "max_grad_norm must be at least 0.0, not -1"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm must be a number, not inf"),
        ({"max_grad_norm": True}, "max_grad_norm must be a number, not True"),
        ({"world_size": 2}, "world_size above 1 needs parallel: ddp or fsdp2"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size must be at least 1, not 0"),
        ({"batchsize": 4}, "unknown field 'batchsize'; did you mean batch_size"),
        ({"zzzzzz": 4}, "unknown field 'zzzzzz'; known: model, "),
    ],
)
def test_refuses_with_a_sentence(given_settings, says):
    assert says in refusal(**given_settings)


def test_an_error_names_its_subject():
    for wrong in ({"model": "gpt3"}, {"model": "gpt2", "batch_size": 0}, {"model": "gpt2", "packing": True}):
        with pytest.raises(UsageError, match=r"^trial\.yaml: "):
            TrialSpec.parse(wrong, subject="trial.yaml")


def test_a_long_value_is_cut():
    assert len(refusal(padding_mask="x" * 10_000)) < 200
    assert len(refusal(lengths=["x" * 10_000])) < 200


def test_deep_nesting_is_refused():
    value = 1
    for _ in range(2000):
        value = [value]
    assert "nested too deeply" in refusal(method="lora", method_options={"target_modules": value})


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.binary(max_size=3),
        st.dates(),
    ),
    lambda value: st.one_of(
        st.lists(value, max_size=3),
        st.tuples(value),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.none()), value, max_size=3
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["model", *TrialSpec.model_fields]), VALUES, max_size=4),
    st.booleans(),
)
def test_any_settings_are_a_spec_or_a_usage_error(given_settings, with_model):
    sentence = ""
    try:
        TrialSpec.parse({**given_settings, **({"model": "gpt2"} if with_model else {})})
    except UsageError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 4000
