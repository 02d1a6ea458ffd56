"""Whether a configuration is inside the data, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.features import NUMBERS
from estimators.learned.distance import Distance
from estimators.learned.prediction import Question, Status
from estimators.learned.state import stored
from estimators.learned.table import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.learned.table import FeatureFrame, TrainingTable

_MARGIN = 0.1
"""How far a setting may be beyond those measured, as a part of it (in the logarithm)."""
_CHANCE = 0.05
"""A distance that fewer of the measured configurations than this have from the others is far."""
FAR = "far from every measured configuration"
"""The reason why what is inside in every respect may still not be inside the data."""
_ASKED = (Question.DEVICE, Question.MODEL, Question.METHOD)
_SETTINGS = tuple(name for name, feature in NUMBERS.items() if feature.is_setting)


@stored
@dataclass(frozen=True, kw_only=True)
class Novelty:
    """What was measured, and how far measured configurations are from each other."""

    distance: Distance
    own_distances: NDArray[np.float64]
    """Of each measured configuration to the nearest other one, in ascending order."""
    ranges: dict[str, tuple[float, float]]
    """Least and most of each setting."""

    @classmethod
    def of(cls, table: TrainingTable) -> Novelty:
        """Learn what is inside."""
        distance = Distance.of(table.frame)
        return cls(
            distance=distance,
            own_distances=np.sort(nearest_other(distance.to(table.frame), np.arange(table.size))),
            ranges={
                name: (float(np.nanmin(values)), float(np.nanmax(values)))
                for name in _SETTINGS
                if not np.isnan(values := table.frame.number(name)).all()
            },
        )

    def question(self, frame: FeatureFrame, row: int) -> Question:
        """Return what is new about a row: its device before its model before its method."""
        for question in _ASKED:
            if frame.category(question.value)[row] not in self.distance.values[question.value]:
                return question
        return Question.CONFIGURATION

    def judge(self, frame: FeatureFrame, row: int, distance: float) -> tuple[Status, tuple[str, ...]]:
        """Return the status of a row and why.

        What was measured on another kind of device is refused, and what is outside in two respects, each an
        unknown category or a setting beyond the measured ones. What is inside in every respect may still be
        farther from each measured configuration than those are from each other.

        Args:
            frame: Features of the questions.
            row: Which of them.
            distance: Its distance to the nearest measured configuration.
        """
        if frame.category("kind")[row] not in self.distance.values["kind"]:
            kinds = " or ".join(self.distance.values["kind"])
            return Status.REFUSE, (f"only {kinds} was measured, not {frame.category('kind')[row]}",)
        reasons = [*self._unknown(frame, row), *self._beyond(frame, row)]
        farther = int((self.own_distances >= distance).sum())
        if not reasons and (1 + farther) / (1 + len(self.own_distances)) < _CHANCE:
            reasons.append(FAR)
        if not reasons:
            return Status.OK, ()
        return (Status.CAUTION if len(reasons) == 1 else Status.REFUSE), tuple(reasons)

    def _unknown(self, frame: FeatureFrame, row: int) -> list[str]:
        reasons = []
        for name, known in self.distance.values.items():
            value = frame.category(name)[row]
            if value not in known and value != UNKNOWN and known != (UNKNOWN,):
                reasons.append(f"{name.replace('_', ' ')} {value} was not measured")
        return reasons

    def _beyond(self, frame: FeatureFrame, row: int) -> list[str]:
        reasons = []
        for name, (least, most) in self.ranges.items():
            value = float(frame.number(name)[row])
            if value < least / (1 + _MARGIN) or value > most * (1 + _MARGIN):
                reasons.append(
                    f"{name.replace('_', ' ')} {value:,.0f} is outside the measured {least:,.0f}"
                    + (f" to {most:,.0f}" if most > least else "")
                )
        return reasons


def nearest_other(distances: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance of each row to the nearest one outside its fold; 0 where there is none."""
    apart = np.where(np.equal.outer(fold, fold), np.inf, distances)
    nearest = apart.min(axis=1, initial=np.inf)
    return np.where(np.isinf(nearest), 0.0, nearest)
