"""`Distance`: how far configurations are from measured ones, over all features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.features import CATEGORIES
from estimators.learned.state import stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.learned.table import FeatureFrame, Scaling


@stored
@dataclass(frozen=True, kw_only=True)
class Distance:
    """Root of the mean square of the differences: scaled numbers, and 1 for each other category."""

    scaling: Scaling
    points: NDArray[np.float64]
    codes: NDArray[np.int64]
    """Number of each category's value in `values`."""
    values: dict[str, tuple[str, ...]]
    """Of each category, the values that were measured."""

    @classmethod
    def of(cls, frame: FeatureFrame) -> Distance:
        """Take down the measured configurations."""
        values = {name: tuple(np.unique(frame.category(name)).tolist()) for name in CATEGORIES}
        return cls(
            scaling=frame.scaling,
            points=frame.scaling.apply(frame),
            codes=_codes(frame, values),
            values=values,
        )

    def to(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the distance of each row to each measured configuration, shape (rows, measured)."""
        points = self.scaling.apply(frame)
        codes = _codes(frame, self.values)
        squares = np.zeros((frame.size, len(self.codes)))
        for number in range(points.shape[1]):
            squares += np.subtract.outer(points[:, number], self.points[:, number]) ** 2
        for number in range(codes.shape[1]):
            squares += np.not_equal.outer(codes[:, number], self.codes[:, number])
        return np.asarray(np.sqrt(squares / (points.shape[1] + 1)), dtype=np.float64)


def _codes(frame: FeatureFrame, values: dict[str, tuple[str, ...]]) -> NDArray[np.int64]:
    """Return the number of each category's value, -1 for one that was never measured."""
    columns = []
    for name, known in values.items():
        numbers = {value: number for number, value in enumerate(known)}
        columns.append([numbers.get(value, -1) for value in frame.category(name).tolist()])
    return np.array(columns, dtype=np.int64).T.reshape(frame.size, len(values))
