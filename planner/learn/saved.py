"""Where learned predictors are: a folder for each store, in the user's data folder or where one says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import platformdirs

from estimators.features import Place
from estimators.learned import TARGETS, LearnedPredictor
from estimators.learned.saved import read_model, write_model
from profiler.errors import SizeupError
from profiler.spec import TrialSpec
from profiler.spec.frozen import canonical_json

if TYPE_CHECKING:
    from pathlib import Path

    from planner.learn.learning import Learned

_ABOUT = "about.model"


@dataclass(frozen=True, kw_only=True)
class SavedModels:
    """Predictors read back, and what they were learned on."""

    predictors: dict[str, LearnedPredictor]
    """By figure."""
    device: str
    """That of the measurements, such as `cpu`; of several, the first."""
    facts: dict[str, Any]
    """Facts of its environment."""
    learned_at: str
    """ISO 8601, in UTC."""
    oom: tuple[tuple[TrialSpec, str], ...]
    """Trials that ran out of memory, and the devices where, as `Place.device`."""

    @property
    def place(self) -> Place:
        """Where the measurements were made.

        Raises:
            NotPossibleError: If the catalogue does not know the GPU.
        """
        return Place.of(self.device, self.facts)


def models_folder(store_location: str) -> Path:
    """Return the folder of what is learned from a store."""
    name = hashlib.sha256(store_location.encode()).hexdigest()[:16]
    return platformdirs.user_data_path("sizeup") / "models" / name


def save_models(learned: Learned, folder: Path) -> None:
    """Write predictors and what they were learned on; figures learned earlier and not now are removed.

    Raises:
        OSError: If they cannot be written.
    """
    first = next(one for one in learned.configurations if one.figures)
    for name in TARGETS:
        (folder / f"{name}.model").unlink(missing_ok=True)
    for figure in learned.figures:
        figure.predictor.save(folder / f"{figure.predictor.target}.model")
    oom = tuple(
        (canonical_json(one.spec.canonical), Place.of(one.device, one.environment.facts).device)
        for one in learned.configurations
        if one.outcomes["oom"] and not one.figures
    )
    about = {
        "device": first.device,
        "facts": canonical_json(first.environment.facts),
        "learned_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "oom": oom,
    }
    write_model(folder / _ABOUT, about)


def read_models(folder: Path) -> SavedModels | None:
    """Read what was learned back; None if there is nothing.

    Raises:
        SizeupError: If a file was changed, or written by another installation.
    """
    if not (folder / _ABOUT).exists():
        return None
    about = read_model(folder / _ABOUT)
    predictors = {
        name: LearnedPredictor.load(path) for name in TARGETS if (path := folder / f"{name}.model").exists()
    }
    if not predictors:
        raise SizeupError(f"there is no learned model in {folder}: learn again")
    return SavedModels(
        predictors=predictors,
        device=about["device"],
        facts=json.loads(about["facts"]),
        learned_at=about["learned_at"],
        oom=tuple((TrialSpec.from_canonical(text), place) for text, place in about["oom"]),
    )
