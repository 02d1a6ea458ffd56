"""What learning is worth on results that were imported: PEFT's method comparison.

    python -m benchmarks.learn_peft [--data FOLDER]

The rows come in as `sizeup import peft` has them (benchmarks/published/peft_results.py) and are learned from
as `sizeup learn` does. Left out is one type of adapter after the other, with all of its runs: median, 90th
percentile and worst error of seconds per step and of peak reserved memory, next to physics alone, the nearest
neighbour and the median, and how often the 90 % interval of the learned predictor held.

Step times are learned at the mean length of the samples. The peak is that of the longest batch, whose length
is not published: `peft_suite.REFERENCE` tells it, and is not scored in memory.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.published.peft_results import imported_rows
from benchmarks.published.peft_suite import REFERENCE, SHORTEST_OF_MEAN
from benchmarks.published.scoring import Summary
from estimators.features import FeatureSource, Place
from estimators.learned import LearnedPredictor, Question, configurations, training_table
from estimators.learned.folds import baseline_models
from estimators.learned.targets import find_target
from estimators.symbolic.tracer import Tracer
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from estimators.features import FeatureRow
    from estimators.learned import Configuration, TrainingTable
    from estimators.learned.folds import Model
    from profiler.spec import TrialSpec

DEFAULT_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "published"
LONGEST_TOKENS = 688
"""Of the longest batch: what `python -m benchmarks.published_memory --only peft` infers from `REFERENCE`."""
LEVEL = 0.9


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Errors of one predictor with each type left out, and whether each interval held."""

    errors: Summary
    held: int
    intervals: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the published files")
    arguments = parser.parse_args()
    try:
        rows = imported_rows(arguments.data)
        found = configurations(rows)
        print(f"{len(rows)} runs of {len(found)} configurations, {len({_type(one) for one in found})} types")
        reference = next(row.spec for row in rows if row.sweep == REFERENCE)
        with Tracer() as tracer:
            source = FeatureSource(tracer)
            timed = with_features(found, source)
            _print("step_seconds_median", timed)
            peaks = [one for one in found if "peak_reserved_bytes" in one.figures and one.spec != reference]
            _print("peak_reserved_bytes", with_features(peaks, source, of=with_longest_batch))
    except SizeupError as error:
        sys.exit(str(error))


def with_longest_batch(spec: TrialSpec) -> TrialSpec:
    """Return the trial of a bucket's first batch: the longest, after the shortest and an emptied cache."""
    shortest = round(SHORTEST_OF_MEAN * spec.sequence_length)
    return spec.with_changes(lengths=[shortest, LONGEST_TOKENS], empty_cache_every=1)


def with_features(
    found: Sequence[Configuration],
    source: FeatureSource,
    *,
    of: Callable[[TrialSpec], TrialSpec] = lambda spec: spec,
) -> list[tuple[Configuration, FeatureRow]]:
    """Return configurations with their features; what cannot be traced is printed.

    Args:
        found: The configurations.
        source: Gives the features.
        of: Returns the trial that is traced for one.
    """
    places = [Place.of(one.device, one.environment.facts) for one in found]
    traced = [(of(one.spec), place) for one, place in zip(found, places, strict=True)]
    rows = []
    for one, row in zip(found, source.rows(traced), strict=True):
        if isinstance(row, SizeupError):
            print(f"not traced: {one.spec}: {row}")
        else:
            rows.append((one, row))
    return rows


def _type(one: Configuration) -> str:
    return one.spec.method


def _print(figure: str, rows: Sequence[tuple[Configuration, FeatureRow]]) -> None:
    table = training_table(figure, rows)
    types = np.array([_type(one) for one, _ in rows])
    models: dict[str, list[Model] | None] = {"learned": None, **baseline_models(find_target(figure))}
    print(f"\n{figure}: {table.size} configurations, {len(set(types))} types, each left out in turn")
    print(f"{'predictor':20} {'median':>7} {'p90':>7} {'worst':>7}  intervals that held")
    for name, of_name in models.items():
        scores = left_out(table, types, figure, of_name)
        held = f"{scores.held} of {scores.intervals}" if scores.intervals else ""
        errors = scores.errors
        print(f"{name:20} {errors.median:7.2%} {errors.p90:7.2%} {errors.worst:7.2%}  {held}")


def left_out(table: TrainingTable, types: np.ndarray, figure: str, models: list[Model] | None) -> Scores:
    """Predict the rows of each type by a predictor that saw none of them."""
    errors: list[float] = []
    held = intervals = 0
    for left in sorted(set(types)):
        inside, outside = np.flatnonzero(types != left), np.flatnonzero(types == left)
        predictor = LearnedPredictor(figure, level=LEVEL, models=models)
        predictor.fit(table.take(inside), questions={Question.METHOD})
        predictions = predictor.predict_frame(table.frame.take(outside), refuses=False)
        for number, prediction in zip(outside, predictions, strict=True):
            measured = float(table.values[number])
            errors.append((prediction.figure or np.nan) / measured - 1)
            if prediction.low is not None and prediction.high is not None:
                intervals += 1
                held += prediction.low <= measured <= prediction.high
    return Scores(errors=Summary.of(errors), held=held, intervals=intervals)


if __name__ == "__main__":
    main()
