"""Answers kept in the cache, so that the same question is answered at once and without torch."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from estimators.cache import cached_path, replacing
from planner.fit.answer import FitAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from profiler.catalog import GpuFacts
    from profiler.spec import TrialSpec


def answer_path(spec: TrialSpec, gpu: GpuFacts, **question: Any) -> Path:
    """Return where the cache has, or will have, an answer; `question` is what else was asked."""
    return cached_path("answer", {"spec": spec.canonical, "gpu": gpu.id, **question})


def read_answer(path: Path) -> FitAnswer | None:
    """Read an answer back, marked as cached; None if there is none, or the file is not whole."""
    try:
        answer = FitAnswer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return answer.model_copy(update={"basis": answer.basis.model_copy(update={"cached": True})})


def write_answer(answer: FitAnswer, path: Path) -> None:
    """Keep an answer, at once for all readers; a cache that cannot be written keeps none."""
    with contextlib.suppress(OSError), replacing(path) as file:
        file.write(answer.model_dump_json().encode())
