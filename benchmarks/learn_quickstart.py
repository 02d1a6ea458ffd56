"""What `learn` is worth on a store of the quickstart sweep, next to the targets.

    sizeup sweep benchmarks/sweeps/quickstart.yaml --store quick.db
    python -m benchmarks.learn_quickstart quick.db

Prints the scores of every figure and split, then what is said of configurations far outside the data: another
GPU, another method, a much longer sequence.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from estimators.features import FeatureSource, Place
from estimators.learned.validation import LEARNED, Split
from estimators.symbolic.tracer import Tracer
from planner.learn import learn
from planner.learn.rows import learning_rows
from profiler.catalog import find_gpu
from profiler.spec import TrialSpec
from profiler.store import Store

if TYPE_CHECKING:
    from planner.learn import Learned

TARGETS_PERCENT = {"peak_process_bytes": 3.0, "peak_allocated_bytes": 3.0, "step_seconds_median": 10.0}
"""Highest median error on configurations left out."""
NEAR = {"model": "pythia-70m", "method": "lora", "batch_size": 1, "sequence_length": 64}
OUTSIDE = {
    "another GPU": ("l40s", {}),
    "another method": (None, {"method": "boft"}),
    "a longer sequence": (None, {"sequence_length": 2048}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path, help="a store of the quickstart sweep")
    path = parser.parse_args().store
    with Store.open(path, must_exist=True) as store, Tracer() as tracer:
        found = learning_rows(store, origins=["measured"], where=None, mix_environments=False)
        FeatureSource(tracer).rows([(one.spec, Place.of(one.device, one.environment.facts)) for one in found])
        started = time.perf_counter()
        learned = learn(found, tracer=tracer)
        print(f"learned and validated in {time.perf_counter() - started:.1f} s beyond tracing")
        print_scores(learned)
        here = Place.of(found[0].device, found[0].environment.facts)
        print_outside(learned, here, FeatureSource(tracer))


def print_scores(learned: Learned) -> None:
    """Print errors and intervals, learned and baselines."""
    for figure in learned.figures:
        validation = figure.validation
        print(f"\n{validation.target}: {figure.predictor.model_name()}")
        print(f"{'left out':14} {'predictor':18} {'n':>3} {'median':>8} {'p90':>8} {'held':>6} {'p':>5} "
              f"{'width':>9} {'score':>8}")  # fmt: skip
        for score in validation.scores:
            held = "-" if score.coverage is None else f"{score.coverage:.0%}"
            p_value = "-" if score.coverage_p_value is None else f"{score.coverage_p_value:.2f}"
            width = "-" if score.width_mean is None else f"{score.width_mean:.1%}"
            interval = "-" if score.interval_score is None else f"{score.interval_score:.4f}"
            print(f"{score.split.value:14} {score.predictor:18} {score.rows:3} {score.error_median:8.2%} "
                  f"{score.error_p90:8.2%} {held:>6} {p_value:>5} {width:>9} {interval:>8}")  # fmt: skip
        (best,) = [
            score
            for score in validation.scores
            if score.split is Split.CONFIGURATION and score.predictor == LEARNED
        ]
        if (target := TARGETS_PERCENT.get(validation.target)) is not None:
            verdict = "met" if 100 * best.error_median <= target else "missed"
            print(f"target {target:g}% in the median: {verdict}")
        print(f"false alarms: {validation.alarms} of {validation.alarms_of}")


def print_outside(learned: Learned, here: Place, source: FeatureSource) -> None:
    """Print what is said of configurations outside the data."""
    print()
    for name, (gpu, changes) in OUTSIDE.items():
        place = here if gpu is None else Place.on(find_gpu(gpu), here.facts)
        (row,) = source.rows([(TrialSpec.parse({**NEAR, **changes}), place)])
        if isinstance(row, Exception):
            print(f"{name}: {row}")
            continue
        for figure in learned.figures:
            (predicted,) = figure.predictor.predict([row])
            reasons = "; ".join(predicted.reasons)
            print(f"{name}: {figure.predictor.target}: {predicted.status.value} ({reasons})")


if __name__ == "__main__":
    main()
