"""Runs a script or a module as `python SCRIPT` and `python -m MODULE` do."""

from __future__ import annotations

import importlib.machinery
import io
import os
import runpy
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_target(kind: str, target: str, arguments: Sequence[str]) -> None:
    """Run the user's program in a `__main__` of its own.

    Args:
        kind: `script` or `module`.
        target: Path of the script, or name of the module.
        arguments: Its command line.
    """
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    is_safe = bool(sys.flags.safe_path or sys.flags.isolated)  # python -P and -I put no folder in front
    if kind == "module":
        if not is_safe:
            sys.path.insert(0, os.getcwd())
        sys.argv[:] = ["-m", *arguments]
        runpy._run_module_as_main(target)  # type: ignore[attr-defined]  # what python -m calls
        return
    if not is_safe:
        sys.path.insert(0, os.path.dirname(os.path.realpath(target)))
    sys.argv[:] = [target, *arguments]
    with io.open_code(os.path.abspath(target)) as file:
        code = compile(file.read(), target, "exec")
    loader = importlib.machinery.SourceFileLoader("__main__", target)
    main.__dict__.update(
        __file__=target,
        __cached__=None,
        __loader__=loader,
        __package__=None,
        __spec__=None,
        __builtins__=__builtins__,
    )
    exec(code, main.__dict__)
