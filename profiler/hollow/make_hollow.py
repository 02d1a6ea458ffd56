"""Writes a hollow checkpoint for `substitution`, in a process of its own.

    python -P make_hollow.py MODEL FOLDER

It is started by its path, from a script's process that need not be able to import this package.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Write the checkpoint; an error is one line on stderr."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from profiler.errors import SizeupError
    from profiler.hollow.checkpoint import write_hollow_checkpoint

    model, folder = sys.argv[1:]
    try:
        write_hollow_checkpoint(model, folder)
    except (SizeupError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # its one way to answer
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
