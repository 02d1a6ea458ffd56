"""What reality adds to physics: the logarithm of measured over predicted, learned from few to many rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from estimators.learned.state import stored
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from estimators.learned.table import FeatureFrame, Scaling

_GROUPS = ("model", "method", "precision", "optimizer", "device", "attention", "torch_version")
"""Categories that may have an effect of their own."""
_FEWEST_FOR_TREES = 40
_TREES, _LEAF = 50, 2


class Correction(Protocol):
    """Gives what to add to the logarithm of a base."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    def can_fit(self, rows: int) -> bool:
        """Whether so many rows are enough."""
        ...

    def fit(self, frame: FeatureFrame, residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        """Return it fitted to the residuals of a base.

        Args:
            frame: Features of the rows.
            residuals: Logarithm of measured over predicted of each.
            weights: Weight of each.
        """
        ...

    def add(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return what to add for each row."""
        ...


@stored
@dataclass(frozen=True, kw_only=True)
class NoCorrection:
    """Physics as it is."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "as it is"

    def can_fit(self, rows: int) -> bool:
        """Always."""
        return True

    def fit(self, frame: FeatureFrame, residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        """Return itself."""
        return self

    def add(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros(frame.size)


@stored
@dataclass(frozen=True, kw_only=True)
class Constant:
    """One factor for all: the median of measured over predicted."""

    log_factor: float = 0.0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "constant factor"

    def can_fit(self, rows: int) -> bool:
        """Whether there are rows enough to tell a factor from one row's own noise."""
        return rows >= 3

    def fit(self, frame: FeatureFrame, residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        """Return it with the median."""
        return replace(self, log_factor=float(np.median(residuals)))

    def add(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the factor for each row."""
        return np.full(frame.size, self.log_factor)


@stored
@dataclass(frozen=True, kw_only=True)
class Ridge:
    """A linear model with an effect of each model, method, precision and so on, pulled towards none.

    An effect of a group is shrunk by its number of rows; a group that was never measured has none, so that
    its rows get the mean. Without the numbers, it cannot undo that more work takes longer.
    """

    penalty: float
    with_numbers: bool
    scaling: Scaling | None = None
    columns: tuple[tuple[str, str], ...] = ()
    """Category and value of each effect."""
    intercept: float = 0.0
    coefficients: NDArray[np.float64] | None = None
    least: float = 0.0
    most: float = 0.0
    """The ends of the residuals seen: a line drawn further corrects by no more than them."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"ridge on {'settings and groups' if self.with_numbers else 'groups'} ({self.penalty:g})"

    def can_fit(self, rows: int) -> bool:
        """Whether there are rows enough for effects of groups."""
        return rows >= 6

    def fit(self, frame: FeatureFrame, residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        """Return it with its effects."""
        scaling = frame.scaling if self.with_numbers else None
        unfitted = replace(self, scaling=scaling, columns=_effects(frame))
        design = _design(frame, unfitted.scaling, unfitted.columns)
        total = weights.sum()
        centre, mean = weights @ design / total, float(weights @ residuals / total)
        centred = design - centre
        gram = centred.T @ (centred * weights[:, None]) + self.penalty * np.eye(design.shape[1])
        effects = np.linalg.solve(gram, centred.T @ (weights * (residuals - mean)))
        return replace(
            unfitted,
            coefficients=effects,
            intercept=mean - float(centre @ effects),
            least=float(residuals.min()),
            most=float(residuals.max()),
        )

    def add(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the sum of the effects for each row."""
        if self.coefficients is None:
            raise NotPossibleError("ridge was not fitted")
        design = _design(frame, self.scaling, self.columns)
        return np.clip(self.intercept + design @ self.coefficients, self.least, self.most)


@stored
@dataclass(frozen=True, kw_only=True)
class Trees:
    """Extremely randomised trees (Geurts et al. 2006), for many rows; kept as arrays."""

    scaling: Scaling | None = None
    columns: tuple[tuple[str, str], ...] = ()
    feature: NDArray[np.int64] | None = None
    """Of each node of all trees; below 0 for a leaf."""
    threshold: NDArray[np.float64] | None = None
    left: NDArray[np.int64] | None = None
    right: NDArray[np.int64] | None = None
    value: NDArray[np.float64] | None = None
    roots: NDArray[np.int64] | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return "extra trees"

    def can_fit(self, rows: int) -> bool:
        """Whether there are rows enough for trees."""
        return rows >= _FEWEST_FOR_TREES

    def fit(self, frame: FeatureFrame, residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> Self:
        """Return it with its trees grown; always the same ones for the same rows."""
        import sklearn
        from sklearn.ensemble import ExtraTreesRegressor

        unfitted = replace(self, scaling=frame.scaling, columns=_effects(frame))
        forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, random_state=0)
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            forest.fit(_design(frame, unfitted.scaling, unfitted.columns), residuals, sample_weight=weights)
        trees = [tree.tree_ for tree in forest.estimators_]
        roots = np.concatenate([[0], np.cumsum([tree.node_count for tree in trees])[:-1]])

        def joined(part: str) -> NDArray[np.int64]:
            return np.concatenate(
                [getattr(tree, part) + root for tree, root in zip(trees, roots, strict=True)]
            )

        return replace(
            unfitted,
            feature=np.concatenate([tree.feature for tree in trees]),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=joined("children_left"),
            right=joined("children_right"),
            value=np.concatenate([tree.value[:, 0, 0] for tree in trees]),
            roots=roots,
        )

    def add(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the mean of the trees' leaves for each row."""
        if (
            self.feature is None or self.threshold is None or self.left is None or self.right is None
            or self.value is None or self.roots is None
        ):  # fmt: skip
            raise NotPossibleError("trees were not grown")
        # As scikit-learn compares them.
        design = _design(frame, self.scaling, self.columns).astype(np.float32)
        nodes = np.repeat(self.roots[None, :], frame.size, axis=0)
        rows = np.arange(frame.size)[:, None]
        while (inner := self.feature[nodes] >= 0).any():
            tested = design[rows, np.maximum(self.feature[nodes], 0)]
            below = np.where(tested <= self.threshold[nodes], self.left[nodes], self.right[nodes])
            nodes = np.where(inner, below, nodes)
        return np.asarray(self.value[nodes].mean(axis=1), dtype=np.float64)


def _effects(frame: FeatureFrame) -> tuple[tuple[str, str], ...]:
    """Return category and value of each effect: of the categories that are not the same in all rows."""
    names = [name for name in _GROUPS if len(set(frame.category(name))) > 1]
    return tuple((name, value) for name in names for value in sorted(set(frame.category(name))))


def _design(
    frame: FeatureFrame, scaling: Scaling | None, columns: tuple[tuple[str, str], ...]
) -> NDArray[np.float64]:
    """Return the scaled numbers, and 1 where a row has the value of an effect; shape (rows, columns)."""
    numbers = scaling.apply(frame) if scaling is not None else np.zeros((frame.size, 0))
    values = {name: np.array(frame.category(name)) for name, _ in columns}
    effects = [values[name] == wanted for name, wanted in columns]
    return np.column_stack([numbers, *effects]).astype(float)
