"""Times `sizeup learn` on a store of 100,000 rows over twenty pairs of model and method.

The rows are invented (time and memory follow the tokens, with noise), the traces are real: a first run makes
them, and the time that counts is that of the second, whose features are in the cache. Prints both, and what
the learning says of itself.
"""

from __future__ import annotations

import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from planner.learn import learn
from planner.learn.learning import MOST_CONFIGURATIONS
from planner.learn.rows import learning_rows
from profiler.devices.cpu import CpuDevice
from profiler.environment import environment_of
from profiler.measurement import Measurement, Outcome
from profiler.spec import TrialSpec
from profiler.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("smollm2-135m", "pythia-70m")
METHODS = ("full", "lora", "dora", "ia3", "prefix", "head", "lokr", "prompt-tuning", "vera", "loha")
BATCH_SIZES = range(1, 26)
LENGTHS = (32, 64, 96, 128, 192, 256, 320, 384, 448, 512)
REPEATS = 20


def rows() -> Iterator[Measurement]:
    """Yield the invented measurements."""
    environment, chance = environment_of(CpuDevice()), random.Random(0)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    number = 0
    for model in MODELS:
        for method in METHODS:
            first = TrialSpec.parse({"model": model, "method": method})
            factor = chance.uniform(0.8, 1.2)
            for batch_size in BATCH_SIZES:
                for length in LENGTHS:
                    spec = first.with_changes(batch_size=batch_size, sequence_length=length)
                    tokens = batch_size * length
                    for repeat in range(1, REPEATS + 1):
                        number += 1
                        yield Measurement(
                            spec=spec,
                            device="cpu",
                            environment=environment,
                            outcome=Outcome.OK,
                            repeat=repeat,
                            figures={
                                "step_seconds_median": factor
                                * (0.05 + 0.002 * tokens)
                                * chance.gauss(1, 0.03),
                                "peak_process_bytes": round(3e8 + 4e5 * tokens * chance.gauss(1, 0.01)),
                            },
                            measured_at=began + timedelta(seconds=number),
                        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "many.db") as store:
        print(f"{store.add_many(rows()).added:,} rows")
        for run in ("first", "with cached features"):
            started = time.perf_counter()
            found = learning_rows(store, origins=["measured"], where=None, mix_environments=False)
            read = time.perf_counter()
            learned = learn(found)
            ended = time.perf_counter()
            print(f"{run}: {ended - started:.1f} s, of which reading {read - started:.1f} s")
        print(
            f"learned from {len(learned.configurations):,} of {len(found):,} "
            f"(at most {MOST_CONFIGURATIONS:,})"
        )
        for figure in learned.figures:
            best = figure.validation.scores[0]
            print(
                f"{figure.predictor.target}: {figure.predictor.model_name()}, error {best.error_median:.1%} "
                f"in the median of {best.rows}, coverage {best.coverage:.1%}"
            )


if __name__ == "__main__":
    main()
