"""A tokenizer that runs: byte-level BPE, with a model's special tokens and exactly its vocabulary size."""

from __future__ import annotations

import json
import pydoc_data.topics
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from profiler.hollow.special_tokens import SpecialTokens, special_tokens

if TYPE_CHECKING:
    from pathlib import Path

# More merges than this corpus yields; what a vocabulary has beyond them is filled with tokens never produced.
_MOST_LEARNED = 30_000


def write_tokenizer(config: Any, folder: Path, *, converses: bool) -> None:
    """Write a tokenizer for the model of a configuration.

    Its merges are learned from Python's own documentation, so that English text becomes words and parts of
    words; it needs about twice as many tokens as a tokenizer that was trained on more. Every id of the
    model's vocabulary has a token, so that a script that fits the embedding to the tokenizer changes nothing.

    Args:
        config: Configuration of the text model.
        folder: Where to.
        converses: Whether to give it a chat template.
    """
    special = special_tokens(config)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(special, config.vocab_size),
        clean_up_tokenization_spaces=False,
        model_max_length=_longest(config),
        model_input_names=["input_ids", *["token_type_ids"] * special.has_token_types, "attention_mask"],
        **{role: text for role, (text, index) in special.roles.items() if index < config.vocab_size},
    )
    if converses:
        tokenizer.chat_template = special.chat_template
    tokenizer.save_pretrained(folder)


def _longest(config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(positions or 1e30)  # transformers' own number for a model without a limit


def _tokenizer(special: SpecialTokens, vocab_size: int) -> Tokenizer:
    places = special.within(vocab_size)
    learned, merges = _learned(vocab_size - len(places))
    taken = set(places.values())
    free = (index for index in range(vocab_size) if index not in taken)
    vocabulary = {**places, **dict(zip(learned, free, strict=False))}
    for index in free:
        vocabulary[f"<unused{index}>"] = index
    unknown = special.roles.get("unk_token", ("", vocab_size))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown[0] if unknown[1] < vocab_size else None)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(places))
    before = [special.roles[role] for role in special.before if special.roles[role][1] < vocab_size]
    after = [special.roles[role] for role in special.after if special.roles[role][1] < vocab_size]
    if before or after:
        around = ([text for text, _ in before], [text for text, _ in after])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*around[0], "$A", *around[1]],
            pair=[*around[0], "$A", *around[1], "$B:1", *(f"{text}:1" for text in around[1])],
            special_tokens=list(dict([*before, *after]).items()),
        )
    return tokenizer


def _learned(room: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return at most `room` tokens, the bytes first, and the merges that make the others."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=min(room, _MOST_LEARNED),
        min_frequency=1,
        show_progress=False,
        # A vocabulary smaller than the bytes has those that are used most.
        **({"initial_alphabet": alphabet} if room >= len(alphabet) else {"limit_alphabet": room}),
    )
    tokenizer.train_from_iterator(pydoc_data.topics.topics.values(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(pair) for pair in model["merges"]]
