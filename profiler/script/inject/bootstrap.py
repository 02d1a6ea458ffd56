"""What is started in the place of a user's script: watches, and runs the script as Python would have.

    python [FLAGS] bootstrap.py SETTINGS.json script PATH|module NAME [ARGUMENTS]

It is a file, not a module, and the package beside it is loaded under a private name: a module of the user's
that has the name of one of ours is found as if we were not there.
"""

from __future__ import annotations

import importlib.util
import os
import sys

PRIVATE_NAME = "_sizeup_script"


def _load_package(folder: str) -> None:
    spec = importlib.util.spec_from_file_location(
        PRIVATE_NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PRIVATE_NAME] = package
    spec.loader.exec_module(package)


def main() -> int:
    """Run the script; returns the exit code of the process."""
    folder = os.path.dirname(os.path.abspath(__file__))
    settings, kind, target, *arguments = sys.argv[1:]
    if not (sys.flags.safe_path or sys.flags.isolated):
        del sys.path[0]  # this folder
    _load_package(folder)
    session = importlib.import_module(f"{PRIVATE_NAME}.session")
    code: int = session.run(settings, kind, target, arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
