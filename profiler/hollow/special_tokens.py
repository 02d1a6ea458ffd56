"""Which special tokens the tokenizers of the model families have, and how they write a conversation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

_INSTRUCTIONS = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% endif %}{% endfor %}"
)
_BEGIN = "{{ bos_token or '' }}"


def _turns(start: str, end: str, *, after_role: str = "\\n", assistant: str = "assistant") -> str:
    """Return a chat template in which each message stands between two marks."""
    role = "message['role']"
    if assistant != "assistant":
        role = f"('{assistant}' if {role} == 'assistant' else {role})"
    return (
        f"{{% for message in messages %}}{{{{ '{start}' + {role} + '{after_role}' + message['content'] "
        f"+ '{end}' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ '{start}{assistant}{after_role}' }}}}{{% endif %}}"
    )


_CHATML = _turns("<|im_start|>", "<|im_end|>\\n")


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """The special tokens of one tokenizer."""

    roles: dict[str, tuple[str, int]]
    """Text and id of what transformers calls `bos_token`, `eos_token` and so on."""
    others: dict[str, int]
    """Id of each special token without such a role, by its text."""
    chat_template: str
    """Jinja template of a conversation; only for models that generate."""
    before: tuple[str, ...] = ()
    """Roles of the tokens put before every text."""
    after: tuple[str, ...] = ()
    """Roles of the tokens put after it."""
    has_token_types: bool = False
    """Whether the tokenizer gives `token_type_ids`."""

    def within(self, vocab_size: int) -> dict[str, int]:
        """Return text and id of every special token that a vocabulary of this size has room for."""
        every = [*self.roles.values(), *self.others.items()]
        return {text: index for text, index in every if index < vocab_size}


_BERT: dict[str, Any] = {"before": ("cls_token",), "after": ("sep_token",)}

# As tokenizer_config.json and tokenizer.json on the hub have them, by model type.
_FAMILIES = {
    "bert": SpecialTokens(
        roles={
            "pad_token": ("[PAD]", 0), "unk_token": ("[UNK]", 100), "cls_token": ("[CLS]", 101),
            "sep_token": ("[SEP]", 102), "mask_token": ("[MASK]", 103),
        },
        others={}, chat_template=_CHATML, has_token_types=True, **_BERT,
    ),
    "deberta-v2": SpecialTokens(
        roles={
            "pad_token": ("[PAD]", 0), "cls_token": ("[CLS]", 1), "sep_token": ("[SEP]", 2),
            "unk_token": ("[UNK]", 3), "mask_token": ("[MASK]", 128000),
        },
        others={}, chat_template=_CHATML, has_token_types=True, **_BERT,
    ),
    "modernbert": SpecialTokens(
        roles={
            "unk_token": ("[UNK]", 50280), "cls_token": ("[CLS]", 50281), "sep_token": ("[SEP]", 50282),
            "pad_token": ("[PAD]", 50283), "mask_token": ("[MASK]", 50284),
        },
        others={}, chat_template=_CHATML, **_BERT,
    ),
    "roberta": SpecialTokens(
        roles={
            "bos_token": ("<s>", 0), "cls_token": ("<s>", 0), "pad_token": ("<pad>", 1),
            "eos_token": ("</s>", 2), "sep_token": ("</s>", 2), "unk_token": ("<unk>", 3),
            "mask_token": ("<mask>", 50264),
        },
        others={}, chat_template=_CHATML, **_BERT,
    ),
    "t5": SpecialTokens(
        roles={"pad_token": ("<pad>", 0), "eos_token": ("</s>", 1), "unk_token": ("<unk>", 2)},
        others={f"<extra_id_{99 - index}>": 32000 + index for index in range(100)},
        chat_template=_CHATML, after=("eos_token",),
    ),
    "gemma": SpecialTokens(
        roles={
            "pad_token": ("<pad>", 0), "eos_token": ("<eos>", 1), "bos_token": ("<bos>", 2),
            "unk_token": ("<unk>", 3),
        },
        others={"<start_of_turn>": 105, "<end_of_turn>": 106},
        chat_template=_BEGIN + _turns("<start_of_turn>", "<end_of_turn>\\n", assistant="model"),
        before=("bos_token",),
    ),
    "llama-3": SpecialTokens(
        roles={"bos_token": ("<|begin_of_text|>", 128000), "eos_token": ("<|end_of_text|>", 128001)},
        others={"<|start_header_id|>": 128006, "<|end_header_id|>": 128007, "<|eot_id|>": 128009},
        chat_template=_BEGIN
        + _turns("<|start_header_id|>", "<|eot_id|>", after_role="<|end_header_id|>\\n\\n"),
        before=("bos_token",),
    ),
    "qwen": SpecialTokens(
        roles={"pad_token": ("<|endoftext|>", 151643), "eos_token": ("<|endoftext|>", 151643)},
        others={"<|im_start|>": 151644, "<|im_end|>": 151645}, chat_template=_CHATML,
    ),
    "smollm2": SpecialTokens(
        roles={"bos_token": ("<|endoftext|>", 0), "eos_token": ("<|endoftext|>", 0)},
        others={"<|im_start|>": 1, "<|im_end|>": 2}, chat_template=_CHATML,
    ),
}  # fmt: skip
_FAMILY_OF_TYPE = {
    "distilbert": "bert", "gemma2": "gemma", "gemma3_text": "gemma", "qwen2": "qwen", "qwen2_moe": "qwen",
    "qwen3": "qwen", "qwen3_moe": "qwen", "xlm-roberta": "roberta",
}  # fmt: skip
_LLAMA_3_VOCABULARY = 128256


def special_tokens(config: Any) -> SpecialTokens:
    """Return the special tokens that fit a model's configuration.

    Families that are not listed here have those that their configuration gives ids for.
    """
    ids = {role: _id(getattr(config, f"{role}_id", None)) for role in ("bos_token", "eos_token", "pad_token")}
    family = _FAMILY_OF_TYPE.get(config.model_type, config.model_type)
    if family == "llama" and config.vocab_size == _LLAMA_3_VOCABULARY:
        family = "llama-3"
    elif family == "llama" and ids["bos_token"] == ids["eos_token"] == 0:
        family = "smollm2"
    known = _FAMILIES.get(family)
    if known is None or not known.within(config.vocab_size):
        return _from_ids(ids)
    # A base model and one tuned for conversations end a text differently.
    end = next(
        (text for text, index in known.within(config.vocab_size).items() if index == ids["eos_token"]), None
    )
    if end is None or ids["eos_token"] is None:
        return known
    return dataclasses.replace(known, roles={**known.roles, "eos_token": (end, ids["eos_token"])})


def _from_ids(ids: dict[str, int | None]) -> SpecialTokens:
    begin, end, pad = ids["bos_token"], ids["eos_token"], ids["pad_token"]
    roles: dict[str, tuple[str, int]] = {}
    if end is not None:
        roles["eos_token"] = ("<|endoftext|>" if begin in (None, end) else "</s>", end)
    if begin is not None:
        roles["bos_token"] = roles["eos_token"] if begin == end else ("<s>", begin)
    if pad is not None:
        same = next((token for token in roles.values() if token[1] == pad), None)
        roles["pad_token"] = same or ("<pad>", pad)
    is_llama_2 = (begin, end) == (1, 2)
    if is_llama_2 and pad != 0:
        roles["unk_token"] = ("<unk>", 0)
    return SpecialTokens(
        roles=roles,
        others={},
        chat_template=_BEGIN + _INSTRUCTIONS if is_llama_2 else _CHATML,
        before=() if begin in (None, end) else ("bos_token",),
    )


def _id(value: Any) -> int | None:
    """Return one id where a configuration gives one, or several."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) and first >= 0 else None
