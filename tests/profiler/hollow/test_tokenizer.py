"""The stand-in for a tokenizer runs, and fits the model."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer

from profiler.catalog import find_model
from profiler.hollow.special_tokens import special_tokens
from profiler.hollow.tokenizer import write_tokenizer

CONVERSATION = [
    {"role": "user", "content": "How are you?"},
    {"role": "assistant", "content": "Well."},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Call this for the tokenizer of a model of the catalogue; each is made once."""

    @functools.cache
    def make(name, *, converses=True):
        folder = tmp_path_factory.mktemp("tokenizer")
        config = AutoConfig.for_model(**find_model(name).config)
        config.save_pretrained(folder)
        write_tokenizer(config.get_text_config(), folder, converses=converses)
        return AutoTokenizer.from_pretrained(folder)

    return make


@pytest.fixture(scope="module")
def smollm(tokenizer):
    return tokenizer("smollm2-135m")


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_text_comes_back(smollm, text):
    if any(token in text for token in smollm.all_special_tokens):
        return
    assert smollm.decode(smollm(text)["input_ids"]) == text


def test_words_of_english_are_few_tokens(smollm):
    text = "The function returns the number of arguments that were given to it."
    assert len(smollm(text)["input_ids"]) < len(text) / 3


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("llama-3.2-1b", {"bos": ("<|begin_of_text|>", 128000), "eos": ("<|end_of_text|>", 128001)}),
        ("llama-2-7b", {"bos": ("<s>", 1), "eos": ("</s>", 2), "unk": ("<unk>", 0), "pad": (None, None)}),
        ("qwen2.5-0.5b", {"eos": ("<|endoftext|>", 151643), "pad": ("<|endoftext|>", 151643)}),
        ("qwen3-0.6b", {"eos": ("<|im_end|>", 151645), "pad": ("<|endoftext|>", 151643)}),
        ("gemma-2-2b", {"pad": ("<pad>", 0), "eos": ("<eos>", 1), "bos": ("<bos>", 2)}),
        ("gpt2", {"bos": ("<|endoftext|>", 50256), "eos": ("<|endoftext|>", 50256), "pad": (None, None)}),
        ("bert-base-uncased", {"cls": ("[CLS]", 101), "sep": ("[SEP]", 102), "mask": ("[MASK]", 103)}),
        ("roberta-base", {"cls": ("<s>", 0), "pad": ("<pad>", 1), "mask": ("<mask>", 50264)}),
        ("t5-small", {"pad": ("<pad>", 0), "eos": ("</s>", 1)}),
    ],
)
def test_special_tokens_and_size_fit_the_model(tokenizer, name, roles):
    made = tokenizer(name)
    assert len(made) == find_model(name).config["vocab_size"]
    found = {role: (getattr(made, f"{role}_token"), getattr(made, f"{role}_token_id")) for role in roles}
    assert found == roles
    assert all(0 <= index < len(made) for index in made("anything at all")["input_ids"])


@pytest.mark.parametrize(
    ("name", "around"),
    [
        ("llama-3.2-1b", ("<|begin_of_text|>", "")), ("gemma-2-2b", ("<bos>", "")), ("gpt2", ("", "")),
        ("bert-base-uncased", ("[CLS]", "[SEP]")), ("t5-small", ("", "</s>")),
    ],
)  # fmt: skip
def test_a_text_is_put_between_the_tokens_that_the_model_wants(tokenizer, name, around):
    made = tokenizer(name)
    assert made.decode(made("word")["input_ids"]) == f"{around[0]}word{around[1]}"


def test_a_pair_of_texts_has_token_types(tokenizer):
    made = tokenizer("bert-base-uncased", converses=False)
    encoded = made("one", "two")
    assert made.decode(encoded["input_ids"]) == "[CLS]one[SEP]two[SEP]"
    first = encoded["input_ids"].index(made.sep_token_id) + 1
    assert encoded["token_type_ids"] == [0] * first + [1] * (len(encoded["input_ids"]) - first)
    assert made.chat_template is None


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (
            "qwen2.5-0.5b",
            "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\nWell.<|im_end|>\n",
        ),
        (
            "llama-3.2-1b",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHow are you?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nWell.<|eot_id|>",
        ),
        ("mistral-7b", "<s>[INST] How are you? [/INST] Well.</s>"),
        (
            "gemma-2-2b",
            "<bos><start_of_turn>user\nHow are you?<end_of_turn>\n<start_of_turn>model\nWell.<end_of_turn>\n",
        ),
    ],
)
def test_a_conversation_is_written_as_the_model_wants(tokenizer, name, written):
    made = tokenizer(name)
    assert made.apply_chat_template(CONVERSATION, tokenize=False) == written
    ids = made.apply_chat_template(CONVERSATION)["input_ids"]
    assert made.decode(ids) == written


def test_special_tokens_that_a_small_vocabulary_has_no_room_for_are_left_out():
    config = AutoConfig.for_model("modernbert", vocab_size=256)
    assert special_tokens(config).within(256).keys() <= {"<s>", "</s>", "<pad>", "<|endoftext|>"}
