"""Names and options of the training methods, known without importing peft (which takes seconds).

`peft_methods.json` lists the PEFT types and the fields of their configurations as one release of peft has
them; `python -m profiler.spec.methods` writes it anew. A name or option that is not in it is looked up in the
installed peft before it is refused, so a newer peft brings its methods with it.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from profiler.errors import UsageError, unknown
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# Methods that need no adapter, each with the options it takes.
PLAIN_METHODS: dict[str, tuple[str, ...]] = {
    "full": (),
    "freeze": ("layers",),
    "head": (),
    "bitfit": (),
}

# Short names; each stands for a method and what else it sets.
ALIASES: dict[str, dict[str, Any]] = {
    "prefix": {"method": "prefix-tuning"},
    "prompt": {"method": "prompt-tuning"},
    "ln": {"method": "ln-tuning"},
    "dora": {"method": "lora", "method_options": {"use_dora": True}},
    "rslora": {"method": "lora", "method_options": {"use_rslora": True}},
    "qlora": {"method": "lora", "quantization": "nf4"},
}

# Fields of a PEFT configuration that are not choices of the user: the workload sets them.
_NOT_OPTIONS = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version",
                "revision", "task_type"}  # fmt: skip

# Options without which peft refuses to build the method, and the value used when none is given. They are
# written into the spec, so that a key always says which value was meant.
REQUIRED_OPTIONS: dict[str, dict[str, Any]] = {
    "freeze": {"layers": 2},
    "adalora": {"total_step": 1000},
    "adaption-prompt": {"adapter_len": 10, "adapter_layers": 2},
    "cartridge": {"num_virtual_tokens": 20},
    # Token type 1 is trained; without types, peft masks every gradient of cpt to zero.
    "cpt": {"cpt_token_ids": list(range(20)), "cpt_tokens_type_mask": [1] * 20},
    "multitask-prompt-tuning": {"num_virtual_tokens": 20},
    "p-tuning": {"num_virtual_tokens": 20},
    "prefix-tuning": {"num_virtual_tokens": 20},
    "prompt-tuning": {"num_virtual_tokens": 20},
    "trainable-tokens": {"token_indices": list(range(10))},
}


def method_names() -> list[str]:
    """Return every method and alias, in alphabetical order."""
    return sorted({*PLAIN_METHODS, *_packaged(), *ALIASES})


def method_options(method: str) -> tuple[str, ...]:
    """Return the names of the options that a method takes.

    Raises:
        UsageError: If there is no such method.
    """
    if method in PLAIN_METHODS:
        return PLAIN_METHODS[method]
    for table in (_packaged, _installed):
        if method in table():
            return table()[method]
    raise unknown("method", method, method_names())


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the method does not have.

    Raises:
        UsageError: If the method or an option is unknown; it lists the options there are.
    """
    known = method_options(method)
    for option in options:
        if not isinstance(option, str):
            raise UsageError(f"an option of {method} must be named by a text, not {shown(option)}")
    if set(options) - set(known):
        known = (*known, *_installed().get(method, ()))
    for option in options:
        if option not in known:
            error = unknown(f"option of {method}", option, known, hint=" ")
            listed = ", ".join(sorted(set(known))) or "none"
            raise UsageError(f"{str(error).strip()} (options of {method}: {listed})")


def peft_name(method: str) -> str:
    """Return the `PeftType` value of a method: `ln-tuning` is `LN_TUNING`."""
    return method.upper().replace("-", "_")


@functools.cache
def _packaged() -> dict[str, tuple[str, ...]]:
    text = resources.files("profiler.spec").joinpath("peft_methods.json").read_text(encoding="utf-8")
    return {method: tuple(options) for method, options in json.loads(text)["methods"].items()}


@functools.cache
def _installed() -> dict[str, tuple[str, ...]]:
    import dataclasses
    import logging

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it; it warns of missing extras
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {
        peft_type.value.lower().replace("_", "-"): tuple(
            sorted({field.name for field in dataclasses.fields(config)} - _NOT_OPTIONS)
        )
        for peft_type, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }


def _write_packaged() -> None:
    from pathlib import Path

    import peft

    content = {"peft_version": peft.__version__, "methods": dict(sorted(_installed().items()))}
    path = Path(__file__).with_name("peft_methods.json")
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write_packaged()
