"""Replays `sizeup suggest` over the imported table of PEFT's method comparison, against random order.

    python -m benchmarks.suggest_replay [--data FOLDER] [--limit-gib 22] [--seeds 40]

Looked for is the run with the least seconds per step whose peak reserved memory is below the limit, among the
runs that publish both. A replay begins with a run drawn by chance, and then takes what is suggested; its cost
is the published time of all runs taken until the fastest was one of them. Random order is the same draws
without suggestions. Printed are the medians over the seeds, what share of the cost it is, and where the
suggestions said to stop: how much that cost, and how much slower than the fastest the best run was by then.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.learn_peft import DEFAULT_FOLDER
from benchmarks.published.peft_results import imported_rows
from estimators.features import Place
from estimators.learned import configurations
from estimators.symbolic.tracer import Tracer
from planner.suggest import Goal, Limit, Objective, suggest
from planner.suggest.goal import TIME
from planner.suggest.rows import trial_cost
from profiler.errors import SizeupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.measurement import Measurement

MEMORY = "peak_reserved_bytes"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where it was said to stop."""

    cost_seconds: float
    excess: float
    """By what part the best run was slower than the fastest then."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One way through the table."""

    cost_seconds: float
    """Until the fastest within the limit was measured."""
    runs: int
    stop: Stop | None
    """None if that was never said."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the published files")
    parser.add_argument("--limit-gib", type=float, default=22.0, help="peak reserved memory at most")
    parser.add_argument("--seeds", type=int, default=40)
    arguments = parser.parse_args()
    try:
        rows = [row for row in imported_rows(arguments.data) if MEMORY in row.figures]
        limit = Limit(figure=MEMORY, most=arguments.limit_gib * 2**30)
        fastest = min((row for row in rows if row.figures[MEMORY] <= limit.most), key=_step_seconds)
        total = sum(map(_cost, rows))
        print(f"{len(rows)} runs, {total / 3600:.1f} h together; fastest within the limit: {fastest.sweep}")
        with Tracer() as tracer:
            orders = [np.random.default_rng(seed).permutation(len(rows)) for seed in range(arguments.seeds)]
            by_chance = [random_cost([rows[number] for number in order], fastest) for order in orders]
            replays = [replay(rows, int(order[0]), fastest, limit, tracer) for order in orders]
    except SizeupError as error:
        sys.exit(str(error))
    _print(by_chance, replays)


def _print(by_chance: Sequence[float], replays: Sequence[Replay]) -> None:
    chance, suggested = median(by_chance), median(one.cost_seconds for one in replays)
    print(f"random order  {chance / 3600:5.2f} h to the fastest (median of {len(by_chance)})")
    print(
        f"suggested     {suggested / 3600:5.2f} h, {median(one.runs for one in replays):.0f} runs; "
        f"{suggested / chance:.0%} of random order"
    )
    stopped = [one.stop for one in replays if one.stop is not None]
    if stopped:
        cost = median(one.cost_seconds for one in stopped)
        excess = [one.excess for one in stopped]
        print(
            f"said to stop in {len(stopped)}, after {cost / 3600:.2f} h; the best was {median(excess):.1%} "
            f"slower than the fastest then (worst {max(excess):.1%})"
        )


def random_cost(order: Sequence[Measurement], fastest: Measurement) -> float:
    """Return what runs cost in some order, until the fastest was one of them."""
    cost = 0.0
    for row in order:
        cost += _cost(row)
        if row is fastest:
            break
    return cost


def replay(
    rows: Sequence[Measurement], first: int, fastest: Measurement, limit: Limit, tracer: Tracer
) -> Replay:
    """Take what is suggested, from one run on, until the fastest is found and it is said to stop."""
    goal = Goal(objective=Objective.BEST, limits=(limit,))
    by_key = {row.spec.key: row for row in rows}
    place = Place.of(rows[0].device, rows[0].environment.facts)
    taken = [rows[first]]
    found_at: tuple[float, int] | None = None
    stop: Stop | None = None
    while True:
        cost = sum(map(_cost, taken))
        if found_at is None and fastest in taken:
            found_at = (cost, len(taken))
        said = suggest(
            [row.spec for row in rows], place, configurations(taken), goal,
            cost=trial_cost(taken), count=1, tracer=tracer,
        )  # fmt: skip
        if stop is None and said.stop_because is not None and said.best_value is not None:
            excess = said.best_value / (_step_seconds(fastest) / fastest.spec.batch_size) - 1
            stop = Stop(cost_seconds=cost, excess=excess)
        if not said.ordered or (found_at is not None and stop is not None):
            break
        taken.append(by_key[said.ordered[0].spec.key])
    if found_at is None:
        raise SizeupError(f"{fastest.sweep} was never suggested")
    return Replay(cost_seconds=found_at[0], runs=found_at[1], stop=stop)


def _cost(row: Measurement) -> float:
    return float(row.figures["trial_seconds"])


def _step_seconds(row: Measurement) -> float:
    return float(row.figures[TIME])


if __name__ == "__main__":
    main()
