"""`predict`: memory and time of configurations, learned where measurements allow it, else symbolic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from estimators.features import FeatureSource, Place
from estimators.learned import Prediction, Question, Status
from estimators.learned.prediction import Basis
from estimators.learned.targets import TARGETS
from estimators.residuals import memory_residuals
from estimators.symbolic.tracer import Tracer
from profiler.catalog.gpu_memory import gpu_memory
from profiler.errors import NotPossibleError, SizeupError
from profiler.sweep.plan import is_larger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estimators.features import FeatureRow
    from planner.learn.saved import SavedModels
    from profiler.spec import TrialSpec

SYMBOLIC = "symbolic engine, nothing learned"
_STATUSES = (Status.OK, Status.CAUTION, Status.REFUSE)


@dataclass(frozen=True, kw_only=True)
class ConfigurationPrediction:
    """What one configuration will take, on one device."""

    spec: TrialSpec
    device: str
    """Id of the GPU, or name of the CPU."""
    error: str | None
    """Why nothing is predicted; None if something is."""
    figures: dict[str, Prediction]
    """By name; a figure that nothing tells is left out."""
    probability_fits: float | None
    """That the process stays below the memory there is; None where no interval tells."""
    memory_bytes: int | None
    """That memory: what torch is sure to see of the GPU, or the host's; None where it is not known."""
    ran_out_of_memory: bool
    """Whether it, or the same with a smaller batch, ran out of memory here when it was measured."""

    @property
    def status(self) -> Status:
        """The worst of its figures'; `refuse` where there is none."""
        statuses = [prediction.status for prediction in self.figures.values()]
        if self.ran_out_of_memory:
            statuses.append(Status.CAUTION)
        return max(statuses, key=_STATUSES.index, default=Status.REFUSE)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not `ok`, each once."""
        reasons = [reason for prediction in self.figures.values() for reason in prediction.reasons]
        if self.ran_out_of_memory:
            reasons.append("it, or the same with a smaller batch, ran out of memory when it was measured")
        said = dict.fromkeys(reasons if self.error is None else [*reasons, self.error])
        # Where one figure is refused and another's is the symbolic engine's for the same reason.
        return tuple(one for one in said if not any(one != other and other in one for other in said))


def predict(
    asked: Sequence[tuple[TrialSpec, Place]],
    models: SavedModels | None,
    *,
    tracer: Tracer | None = None,
    on_stage: Callable[[str], None] = lambda _stage: None,
) -> list[ConfigurationPrediction]:
    """Return what each configuration will take.

    A figure comes from the learned model. Where that refuses, or there is none, memory comes from the
    symbolic engine, and time from nothing.

    Args:
        asked: Configurations, and where they run.
        models: What was learned; None if nothing was.
        tracer: Gives the traces; by default one of this call's own.
        on_stage: Is told in a few words what is being done.
    """
    if tracer is None:
        with Tracer() as own:
            return predict(asked, models, tracer=own, on_stage=on_stage)
    found = FeatureSource(tracer, on_stage=on_stage).rows(asked)
    rows = [row for row in found if not isinstance(row, SizeupError)]
    learned = {name: model.predict(rows) for name, model in models.predictors.items()} if models else {}
    answers: list[ConfigurationPrediction] = []
    number = 0
    for (spec, place), row in zip(asked, found, strict=True):
        if isinstance(row, SizeupError):
            answers.append(_answer(spec, place, {}, models, error=str(row)))
            continue
        figures = {}
        for name in TARGETS:
            of_model = learned[name][number] if name in learned else None
            if (best := _best(name, of_model, row, place)) is not None:
                figures[name] = best
        answers.append(_answer(spec, place, figures, models, error=None))
        number += 1
    return answers


def _best(name: str, learned: Prediction | None, row: FeatureRow, place: Place) -> Prediction | None:
    """Return the learned prediction, unless it is refused and the symbolic engine has one."""
    if learned is not None and learned.status is not Status.REFUSE:
        return learned
    symbolic = _symbolic(name, row, place)
    if symbolic is None:
        return learned
    if learned is None:
        return symbolic
    reasons = tuple(f"nothing learned applies: {reason}" for reason in learned.reasons)
    return replace(symbolic, status=Status.CAUTION, reasons=reasons, nearest=learned.nearest)


def _symbolic(name: str, row: FeatureRow, place: Place) -> Prediction | None:
    feature = TARGETS[name].predicted_by
    figure = row.numbers.get(feature) if feature is not None else None
    if figure is None or (place.gpu is None and name == "peak_process_bytes"):
        return None  # on the CPU, the peak of tensors is not that of the process
    residuals = memory_residuals()
    low = high = None
    because: str | None = "no published measurements tell how exact it is"
    if place.gpu is not None and name != "peak_allocated_bytes":
        context = (0, 0) if name == "peak_reserved_bytes" else gpu_memory(place.gpu).context_bytes_range
        reserved = row.numbers["predicted_reserved_bytes"]
        low, high = reserved * (1 + residuals.low) + context[0], reserved * (1 + residuals.high) + context[1]
        because = None
    return Prediction(
        figure=figure,
        low=low,
        high=high,
        level=residuals.level,
        outcomes=(),
        basis=Basis(
            configurations=0,
            measurements=0,
            model=SYMBOLIC,
            question=Question.CONFIGURATION,
            calibrated_by=None if because else f"{residuals.rows} published measurements",
            no_interval_because=because,
        ),
        status=Status.OK,
        reasons=(),
        nearest=(),
    )


def _answer(
    spec: TrialSpec,
    place: Place,
    figures: dict[str, Prediction],
    models: SavedModels | None,
    *,
    error: str | None,
) -> ConfigurationPrediction:
    memory = _memory_bytes(place)
    process = figures.get("peak_process_bytes")
    ran_out = models is not None and any(
        device == place.device and (one == spec or is_larger(spec, one)) for one, device in models.oom
    )
    probability = None
    if process is not None and memory is not None:
        probability = process.probability_below(0 if ran_out else memory)
    return ConfigurationPrediction(
        spec=spec,
        device=place.device,
        error=error,
        figures=figures,
        probability_fits=probability,
        memory_bytes=memory,
        ran_out_of_memory=ran_out,
    )


def _memory_bytes(place: Place) -> int | None:
    if place.gpu is not None:
        try:
            return gpu_memory(place.gpu).usable_bytes_range[0]
        except NotPossibleError:
            return None
    gib: Any = place.facts.get("host_memory_gib")
    return int(gib * 2**30) if isinstance(gib, int | float) else None
