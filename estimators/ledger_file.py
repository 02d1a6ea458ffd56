"""Ledgers as files: one compressed archive of arrays, readable without torch."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.cache import replacing
from estimators.ledger import Ledger, Mark, Operators
from profiler.measurement import Phase

if TYPE_CHECKING:
    from pathlib import Path

_ARRAYS = ("events", "sizes", "owners", "tensor_modules")
_OPERATOR_ARRAYS = ("name", "module", "mark", "flops", "bytes_read", "bytes_written", "is_16bit")


def write_ledger(ledger: Ledger, path: Path) -> None:
    """Write a ledger, replacing what is there at once: a reader sees the old file or the new one.

    Raises:
        OSError: If it cannot be written.
    """
    text: dict[str, Any] = {
        "modules": ledger.modules,
        "marks": [(mark.event, mark.phase, mark.step) for mark in ledger.marks],
        "facts": ledger.facts,
    }
    arrays = {name: getattr(ledger, name) for name in _ARRAYS}
    if ledger.operators is not None:
        text["operator_names"] = ledger.operators.names
        arrays |= {f"operator_{name}": getattr(ledger.operators, name) for name in _OPERATOR_ARRAYS}
    arrays["text"] = np.frombuffer(json.dumps(text).encode(), dtype=np.uint8)
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read_ledger(path: Path) -> Ledger | None:
    """Read a ledger back; None if there is none, or the file is not whole."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = json.loads(arrays.pop("text").tobytes())
        operators = None
        if "operator_names" in text:
            columns = {name: arrays[f"operator_{name}"] for name in _OPERATOR_ARRAYS}
            operators = Operators(**columns, names=tuple(text["operator_names"]))
        return Ledger(
            **{name: arrays[name] for name in _ARRAYS},
            modules=tuple(text["modules"]),
            marks=tuple(
                Mark(event=event, phase=Phase(phase), step=step) for event, phase, step in text["marks"]
            ),
            operators=operators,
            facts=text["facts"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
