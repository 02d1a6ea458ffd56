"""Answers kept in the cache, so that the same question is answered at once and without torch."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from estimators.cache import cached_path
from planner.fit.answer import FitAnswer

if TYPE_CHECKING:
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
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(answer.model_dump_json())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
