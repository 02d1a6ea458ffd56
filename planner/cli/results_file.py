"""The file of rows that a sweep leaves: written anew each time, but never over somebody else's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profiler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from profiler.sweep.runner import SweepRunner


def check_results_file(path: Path) -> None:
    """Refuse, before anything is measured, a file that could not be written at the end.

    Raises:
        UsageError: If the folder is not there, the ending is of no known format, or a file is there that is
            no table of sizeup.
    """
    from profiler.store.export import FORMATS

    if path.suffix.removeprefix(".") not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UsageError(f"cannot write {path}: known endings are {endings}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if path.exists() and not _is_ours(path):
        raise UsageError(f"{path} is there and is no table of sizeup; name another file with --output")


def _is_ours(path: Path) -> bool:
    """Whether a file is a table that sizeup wrote: it has the column that names specs."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return "spec_key" in pyarrow.parquet.read_schema(path).names
        with path.open(encoding="utf-8") as file:
            return "spec_key" in file.read(4096)
    except (OSError, ValueError):
        return False


def write_results_file(runner: SweepRunner, path: Path) -> int:
    """Write the rows of a sweep, and return how many there are."""
    return runner.store.export(path, overwrite=True, **runner.selection)
