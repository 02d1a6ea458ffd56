"""Which columns of results a person is shown, of the many that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profiler.spec import TrialSpec
from profiler.store.summary import COUNT_COLUMNS, WARNING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.store.table import Table

# What a table shows; of the settings and the environment, only what tells the rows apart.
_SETTINGS = tuple(name for name in TrialSpec.model_fields if name not in ("model", "method"))
_PLACE = ("device", "device_name", "origin")
_FIGURES = (
    "peak_allocated_bytes", "peak_reserved_bytes", "peak_process_bytes", "step_seconds_median",
    "step_seconds_pi95_low", "step_seconds_pi95_high", "tokens_per_second",
)  # fmt: skip


def telling_columns(rows: Sequence[dict[str, Any]], table: Table, *, each: bool = False) -> list[str]:
    """Return the columns that a person needs: the figures there are, and what tells the rows apart."""

    def differs(name: str) -> bool:
        return name in table.columns and len({row[name] for row in rows}) > 1

    def is_known(name: str) -> bool:
        return name in table.columns and any(row[name] is not None for row in rows)

    told = ["model", "method", *filter(differs, _SETTINGS)]
    place = list(filter(differs, _PLACE)) or ["device"]
    if differs("environment_key") and not differs("device_name"):
        place.append("environment_key")
    place += filter(differs, ["protocol"])
    if each:
        counts = ["repeat", *filter(differs, ["attempt"]), "outcome", *filter(is_known, ["reason", "phase"])]
    else:
        counts = ["processes", *(name for name in COUNT_COLUMNS[1:] if any(row[name] for row in rows))]
    warnings = [name for name in WARNING_COLUMNS if name in table.columns and any(row[name] for row in rows)]
    return [*told, *place, *counts, *filter(is_known, _FIGURES), *warnings]
