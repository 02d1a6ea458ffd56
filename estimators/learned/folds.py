"""Which rows are left out together, and which of several models does best on rows left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from estimators.learned.bases import LeastAbsolute, LeastSquares, Median, Nearest, Predicted
from estimators.learned.corrections import Constant, NoCorrection, Ridge, Trees
from estimators.learned.state import stored
from profiler.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from estimators.learned.bases import Base
    from estimators.learned.corrections import Correction
    from estimators.learned.table import FeatureFrame, TrainingTable
    from estimators.learned.targets import LearnedTarget

_ONE_BY_ONE = 20
"""Up to so many groups, each is left out alone."""
_FOLDS, _FOLDS_OF_MANY, _MANY = 10, 5, 100
_SMALLEST_GAIN = 1e-4
"""An error this much smaller is no reason for another model: reruns of the PEFT suite differ by that in
memory, the most exact of the figures."""


@stored
@dataclass(frozen=True, kw_only=True)
class Model:
    """A base and its correction: one way to predict the logarithm of a figure."""

    base: Base
    correction: Correction

    @property
    def name(self) -> str:
        """What a person calls it."""
        if isinstance(self.correction, NoCorrection):
            return self.base.name
        return f"{self.base.name} with {self.correction.name}"

    def can_fit(self, table: TrainingTable) -> bool:
        """Whether a table has the rows and features it needs."""
        return bool(self.base.knows(table.frame).all()) and self.correction.can_fit(table.size)

    def fit(self, table: TrainingTable, *, fitted_base: Base | None = None) -> Model:
        """Return it fitted to a table.

        Args:
            table: The rows.
            fitted_base: Its base, where that was fitted to these rows already.
        """
        base = fitted_base or self.base.fit(table)
        residuals = table.log_values - base.log_figure(table.frame)
        return Model(base=base, correction=self.correction.fit(table.frame, residuals, table.weights))

    def log_figure(self, frame: FeatureFrame) -> NDArray[np.float64]:
        """Return the logarithm of the figure of each row."""
        return self.base.log_figure(frame) + self.correction.add(frame)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A model fitted without each fold in turn."""

    model: Model
    fold: NDArray[np.int64]
    """Of each row."""
    models: tuple[Model, ...]
    """One for each fold, fitted to the others."""
    residuals: NDArray[np.float64]
    """Logarithm of measured over predicted of each row, by the model that did not see it."""


def physics_models(target: LearnedTarget) -> list[Model]:
    """Return physics alone, as it is known before anything is learned: what is to be beaten."""
    if target.predicted_by is not None:
        return [Model(base=Predicted(feature=target.predicted_by), correction=NoCorrection())]
    return [Model(base=LeastSquares(terms=target.terms[-1]), correction=NoCorrection())]


def baseline_models(target: LearnedTarget) -> dict[str, list[Model]]:
    """Return the baselines by name."""
    return {
        "physics alone": physics_models(target),
        "nearest neighbour": [Model(base=Nearest(), correction=NoCorrection())],
        "median": [Model(base=Median(), correction=NoCorrection())],
    }


def candidate_models(target: LearnedTarget) -> list[Model]:
    """Return the models to choose from, the simplest first."""
    bases: list[Base] = [model.base for model in physics_models(target)]
    bases += [LeastSquares(terms=terms) for terms in reversed(target.terms) if _is_new(terms, bases)]
    if target.group == "time":
        bases += [LeastAbsolute(terms=terms) for terms in reversed(target.terms)]
    corrections: list[Correction] = [NoCorrection(), Constant()]
    corrections += [Ridge(penalty=penalty, with_numbers=False) for penalty in (10.0, 1.0)]
    corrections += [Ridge(penalty=penalty, with_numbers=True) for penalty in (100.0, 10.0, 1.0)]
    corrections.append(Trees())
    return [
        Model(base=base, correction=correction)
        for correction in corrections
        for base in bases
        # The factors of least squares have a constant one in them already.
        if not (isinstance(correction, Constant) and isinstance(base, LeastSquares))
    ]


def _is_new(terms: tuple[str, ...], bases: Sequence[Base]) -> bool:
    return all(not isinstance(base, LeastSquares) or base.terms != terms for base in bases)


def assign_folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each row: rows of a group are in one, and groups are dealt out by chance.

    The chance is seeded, so that the same groups always come out the same.
    """
    names = sorted(set(groups))
    folds = _FOLDS if len(names) <= _MANY else _FOLDS_OF_MANY
    if len(names) <= _ONE_BY_ONE:
        folds = len(names)
    order = np.random.default_rng(0).permutation(len(names))
    fold_of = {names[number]: place % folds for place, number in enumerate(order)}
    return np.array([fold_of[group] for group in groups], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The rows of one fold, and all others."""

    rest: TrainingTable
    outside: NDArray[np.int64]
    frame: FeatureFrame
    bases: dict[str, Base]
    """Bases fitted to the rest, by name: several models share one."""


def _parts(table: TrainingTable, fold: NDArray[np.int64]) -> list[_Part]:
    parts = []
    for number in range(int(fold.max()) + 1):
        outside = np.flatnonzero(fold == number)
        rest = table.take(np.flatnonzero(fold != number))
        parts.append(_Part(rest=rest, outside=outside, frame=table.frame.take(outside), bases={}))
    return parts


def _left_out(
    model: Model, table: TrainingTable, fold: NDArray[np.int64], parts: Sequence[_Part]
) -> LeftOut | None:
    """Fit a model without each fold in turn; None if it cannot be fitted without one of them."""
    if not all(part.rest.size and model.can_fit(part.rest) for part in parts):
        return None
    models: list[Model] = []
    residuals = np.empty(table.size)
    for part in parts:
        if (base := part.bases.get(model.base.name)) is None:
            base = part.bases[model.base.name] = model.base.fit(part.rest)
        models.append(model.fit(part.rest, fitted_base=base))
        residuals[part.outside] = table.log_values[part.outside] - models[-1].log_figure(part.frame)
    return LeftOut(model=model, fold=fold, models=tuple(models), residuals=residuals)


def choose(models: Sequence[Model], table: TrainingTable, fold: NDArray[np.int64]) -> LeftOut | None:
    """Return the simplest model that is as good on left-out rows as the best, within chance.

    Bases are compared first, as they are; corrections are tried on the best of them only.

    The error of a row is the absolute logarithm of measured over predicted. A simpler model is as good if its
    mean error exceeds that of the best by no more than one standard error of their difference (the rule of
    Breiman et al., Classification and Regression Trees, 1984, on paired rows).

    Args:
        models: The simplest first.
        table: Rows to learn from.
        fold: Fold of each row.

    Returns:
        The model with its left-out fits; None if no model can be fitted to the rest of every fold.
    """
    parts = _parts(table, fold)

    def fitted_to(some: Iterable[Model]) -> list[LeftOut]:
        return [fitted for model in some if (fitted := _left_out(model, table, fold, parts)) is not None]

    bare = [model for model in models if isinstance(model.correction, NoCorrection)]
    found = fitted_to(bare)
    best_base = min(found, key=lambda fitted: np.abs(fitted.residuals).mean()).model.base if found else None
    found += fitted_to(model for model in models if model not in bare and best_base in (None, model.base))
    if not found:
        return None
    errors = np.array([np.abs(fitted.residuals) for fitted in found])
    best = int(errors.mean(axis=1).argmin())
    for fitted, of_model in zip(found, errors, strict=True):
        worse = of_model - errors[best]
        if worse.mean() <= max(worse.std() / np.sqrt(table.size), _SMALLEST_GAIN):
            return fitted
    return found[best]


def fit_simplest(models: Sequence[Model], table: TrainingTable) -> Model:
    """Return the first model that can be fitted, for rows too few to leave any out.

    Raises:
        NotPossibleError: If there is none.
    """
    for model in models:
        if model.can_fit(table):
            return model.fit(table)
    raise NotPossibleError("no model can be fitted to these rows: what physics needs of them is not known")
