"""The transformers configuration of a model: from the catalogue, a folder, or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError

from profiler.catalog import find_model
from profiler.errors import NotPossibleError, UnreachableError, UsageError
from profiler.spec.normalize import read_config

AUTO_CLASSES: dict[str, Any] = {
    "causal-lm": transformers.AutoModelForCausalLM,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "image-classification": transformers.AutoModelForImageClassification,
    "seq2seq-lm": transformers.AutoModelForSeq2SeqLM,
}


def model_configuration(model: str) -> Any:
    """Return the configuration of a model, as it was published; never its weights, and never remote code.

    Args:
        model: A name of the catalogue, a hub id, or the absolute path of a folder with a `config.json`.

    Raises:
        UsageError: If the folder has no readable configuration.
        NotPossibleError: If the installed transformers does not know the model type, or a hub id is neither
            in the local cache nor to be had from the hub.
        UnreachableError: If the hub does not answer.
    """
    if Path(model).is_absolute():
        read_config(Path(model))  # transformers' own message about a broken file is not one sentence
    else:
        try:
            fields = find_model(model).config
        except UsageError:
            pass  # no model of the catalogue: a hub id
        else:
            return _asked(model, lambda: transformers.AutoConfig.for_model(**fields))
    return _asked(model, lambda: transformers.AutoConfig.from_pretrained(model, trust_remote_code=False))


def _asked(model: str, configuration: Any) -> Any:
    try:
        return configuration()
    except OSError as error:
        where = f"the configuration of {model} is not in the catalogue or the local hub cache, and the hub"
        if "couldn't connect" in str(error):  # transformers says so of an offline mode, too
            raise UnreachableError(
                f"{where} cannot be reached; give a folder with its config.json, or try again"
            ) from None
        raise NotPossibleError(f"{where} does not give it; check the name, or whether it is gated") from None
    except (ValueError, KeyError, StrictDataclassError) as error:
        known = f"transformers {transformers.__version__} cannot build {model}"
        reason = str(error).split("\n\n")[0]  # advice on installing another transformers follows
        raise NotPossibleError(f"{known}: {' '.join(reason.split())}") from None
