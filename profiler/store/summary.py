"""Repeats of one trial as one line: how its processes ended, and what they measured between them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

from profiler.measurement import FIGURES, Outcome
from profiler.store.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP_COLUMNS = ("spec_key", "device", "environment_key", "origin", "protocol")
"""What is the same for all repeats of a trial: figures of different environments, or protocols, never mix."""

MEDIAN_COLUMNS = (
    "peak_allocated_bytes", "peak_reserved_bytes", "peak_process_bytes", "context_bytes", "resident_bytes",
    "step_seconds_median", "host_seconds_median", "tokens_per_second", "tokens_per_second_nonpad",
    "samples_per_second", "flops_per_step", "mfu", "power_watts_mean", "energy_joules_per_step",
    "trainable_parameters", "total_parameters",
)  # fmt: skip
"""Figures whose median over the processes is taken, under the same name."""

WARNING_COLUMNS = ("device_busy", "throttled")
"""True where it was so in any process."""

COUNT_COLUMNS = ("processes", *(outcome.value for outcome in Outcome))
"""Processes that ran (what was skipped had none), and attempts by outcome; figures rest on the `ok` ones."""

INTERVAL_COLUMNS = ("step_seconds_pi95_low", "step_seconds_pi95_high")
"""Where the median step time of one more process falls with 95 %."""

_OF_ONE_ATTEMPT = {
    "id", "outcome", "reason", "phase", "message", "repeat", "attempt", "sweep", "measured_at", *FIGURES,
}  # fmt: skip
_FEWEST_PROCESSES = 3


def prediction_interval(medians: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Return where the figure of one more process falls with probability `level`.

    exp(mean ± t_{(1+level)/2, n-1} · s · sqrt(1 + 1/n)), where mean and s (with n - 1) are those of the
    logarithms of the n figures: the prediction interval of a normal sample (Hahn and Meeker, Statistical
    Intervals, 1991, section 4.7), taken in the log domain because times vary by factors and stay above zero.
    It is wider than the interval of one process's own steps, which knows nothing of other processes.

    Args:
        medians: A figure of each process, such as its median step time in seconds.
        level: Its probability.

    Returns:
        The two ends in the unit of `medians`; None below three processes, or where a figure is not above 0.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    count = len(medians)
    if count < _FEWEST_PROCESSES or min(medians) <= 0:
        return None
    logarithms = [math.log(median) for median in medians]
    mean, deviation = statistics.fmean(logarithms), statistics.stdev(logarithms)
    reach = float(stdtrit(count - 1, (1 + level) / 2)) * deviation * math.sqrt(1 + 1 / count)
    return math.exp(mean - reach), math.exp(mean + reach)


def summarize(table: Table) -> Table:
    """Return one row per spec, device, environment and origin, in the order of their first attempts.

    Its columns are those of `table` that repeats share (settings, device, environment's facts), then
    `COUNT_COLUMNS`, `MEDIAN_COLUMNS`, `INTERVAL_COLUMNS` and `WARNING_COLUMNS`. Figures come from the
    attempts that ended well; where there is none, they are absent.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.rows():
        groups.setdefault(tuple(row[name] for name in GROUP_COLUMNS), []).append(row)
    shared = {name: kind for name, kind in table.columns.items() if name not in _OF_ONE_ATTEMPT}
    columns = {
        **shared,
        **dict.fromkeys(COUNT_COLUMNS, int),
        **{name: FIGURES[name].kind for name in MEDIAN_COLUMNS},
        **dict.fromkeys(INTERVAL_COLUMNS, float),
        **dict.fromkeys(WARNING_COLUMNS, bool),
    }
    cells = tuple(
        (*(attempts[0][name] for name in shared), *_summary(attempts).values())
        for attempts in groups.values()
    )
    return Table(columns=columns, cells=cells)


def _summary(attempts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    outcomes = Counter(attempt["outcome"] for attempt in attempts)
    finished = [attempt for attempt in attempts if attempt["outcome"] == Outcome.OK]
    low, high = prediction_interval(_known(finished, "step_seconds_median")) or (None, None)
    return {
        "processes": len(attempts) - outcomes[Outcome.SKIPPED],
        **{outcome.value: outcomes[outcome.value] for outcome in Outcome},
        **{name: _median(_known(finished, name), FIGURES[name].kind) for name in MEDIAN_COLUMNS},
        **dict(zip(INTERVAL_COLUMNS, (low, high), strict=True)),
        **{name: any(values) if (values := _known(finished, name)) else None for name in WARNING_COLUMNS},
    }


def _known(attempts: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [attempt[name] for attempt in attempts if attempt[name] is not None]


def _median(values: Sequence[Any], kind: type) -> Any:
    if not values:
        return None
    median = statistics.median(values)
    return round(median) if kind is int else float(median)
