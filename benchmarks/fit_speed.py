"""How long `sizeup fit` takes, against its budgets: `python benchmarks/fit_speed.py`.

Imports are printed apart. Traces run on a cold cache, a cached answer is a whole process of the command.
Nothing is asserted: times belong to the machine they were taken on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from estimators.grid import memory_grid
from estimators.memory import estimate_memory
from estimators.sizes import SizeModel
from estimators.symbolic.tracer import Tracer
from estimators.target import Target
from profiler.catalog import find_gpu
from profiler.spec import TrialSpec

BUDGETS = {"llama-3.1-8b": 4.0, "llama-3.1-70b": 8.0, "llama-3.1-405b": 15.0}
MEMORY_BUDGET_GIB = 3.0
CACHED_BUDGET = 1.0
GRID_BUDGET = 60.0
GPU = "h200"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid-model", default="llama-3.1-8b", help="model of the 100 x 100 grid")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sizeup-speed-") as folder:
        os.environ["SIZEUP_CACHE"] = folder
        traces()
        cached_answer()
        grid(options.grid_model)


def traces() -> None:
    gpu = find_gpu(GPU)
    for model, budget in BUDGETS.items():
        with Tracer(jobs=1) as tracer:
            started = time.perf_counter()
            spec = TrialSpec.parse({"model": model, "method": "lora"})
            ledger = tracer.trace(spec, Target.of(gpu))
            estimate_memory(ledger, spec, gpu)
            seconds = time.perf_counter() - started
        imports = ledger.facts["seconds"]["imports"]
        peak = ledger.facts["peak_resident_bytes"] / 2**30
        show(f"{model} lora, beyond imports of {imports:.1f} s", seconds - imports, budget)
        show(f"{model} lora, memory of the trace in GiB", peak, MEMORY_BUDGET_GIB, unit="GiB")


def cached_answer() -> None:
    script = [sys.executable, "-c", "from planner.cli.main import main; main()"]
    command = [*script, "fit", "llama-3.2-1b", "--method", "lora", "--gpu", GPU]
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - started
    show("a cached answer, whole process", seconds, CACHED_BUDGET)


def grid(model: str) -> None:
    gpu = find_gpu(GPU)
    spec = TrialSpec.parse({"model": model, "method": "lora"})
    with Tracer() as tracer:
        sizes = SizeModel.of(spec, Target.of(gpu), tracer)
    started = time.perf_counter()
    made = memory_grid(sizes, spec, gpu, batch_sizes=range(1, 101), lengths=range(128, 12928, 128))
    seconds = time.perf_counter() - started
    replayed = int(made.is_replayed.sum())
    show(f"{model} grid of 100 x 100 ({replayed} cells replayed), after the traces", seconds, GRID_BUDGET)


def show(subject: str, figure: float, budget: float, *, unit: str = "s") -> None:
    verdict = "within" if figure <= budget else "OVER"
    print(f"{subject}: {figure:.2f} {unit}, {verdict} the budget of {budget:g} {unit}", flush=True)


if __name__ == "__main__":
    main()
