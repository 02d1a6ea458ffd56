"""Which line of the user's own code is at work."""

from __future__ import annotations

import functools
import glob
import os
import site
import sys
import sysconfig
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType
    from typing import Any

# Where torch.compile keeps the code that it writes, in every run.
_COMPILED = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
# Of sizeup as it is installed; the parts for virtual GPUs are beside this one.
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


def _library_folders() -> tuple[str, ...]:
    """Return where Python and installed libraries are, the most particular first."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    # A folder of sys.path in which pip has put something, such as one of `pip install --target`.
    paths += [path for path in sys.path if path and glob.glob(os.path.join(glob.escape(path), "*.dist-info"))]
    folders = {form for path in paths if path for form in (os.path.abspath(path), os.path.realpath(path))}
    return tuple(sorted((folder + os.sep for folder in folders), key=len, reverse=True))


@functools.cache
def _library_path(filename: str) -> str | None:
    """Return the path of a file within the folder of libraries that it is in; None if it is in none."""
    path = os.path.abspath(filename)
    for folder in _library_folders():
        if path.startswith(folder):
            return path.removeprefix(folder)
    _, installed, rest = path.rpartition("site-packages" + os.sep)
    return rest if installed else None


def is_user_file(filename: str) -> bool:
    """Whether a file is the user's: not Python's, not an installed library's, not ours."""
    if not filename or filename.startswith("<") or os.path.abspath(filename).startswith(_OURS):
        return False
    return not _is_compiled(filename) and _library_path(filename) is None


def _is_compiled(filename: str) -> bool:
    return _COMPILED is not None and filename.startswith(_COMPILED + os.sep)


def place(filename: str, line: int | None, function: str) -> str:
    """Return a line of code as people write it, such as `train.py:12 in main`."""
    path = os.path.relpath(filename)
    if path.startswith(os.pardir):
        path = filename
    return f"{path}:{line}" + ("" if function == "<module>" else f" in {function}")


def innermost(frames: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the innermost place of the user's in a stack of torch's memory history, or None.

    Args:
        frames: From the innermost out.
    """
    for frame in frames:
        if is_user_file(frame["filename"]):
            return place(frame["filename"], frame["line"], frame["name"])
    return None


def inside(frames: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the place in a library, torch left out, that the user's code led to; None if there is none.

    Args:
        frames: From the innermost out.
    """
    for frame in frames:
        filename = frame["filename"]
        if is_user_file(filename):
            return None
        if _is_compiled(filename):
            return "code of torch.compile"
        path = _library_path(filename)
        if path is not None and not path.startswith("torch" + os.sep) and os.sep in path:
            return f"{path}:{frame['line']} in {frame['name']}"
    return None


def current_line() -> str | None:
    """Return the innermost place of the user's in the main thread, whichever asks; None without one."""
    places = current_stack(limit=1)
    return places[0] if places else None


def current_stack(*, limit: int = 20) -> list[str]:
    """Return the places of the user's in the stack, from the innermost out.

    A thread without Python code of the user's, such as autograd's, works for the main thread.
    """
    # Never a variable for the frame of now: a frame that holds itself keeps all tensors of its callers alive.
    found = _places(sys._getframe(1), limit)
    main = threading.main_thread().ident
    if not found and main is not None and main != threading.get_ident():
        found = _places(sys._current_frames().get(main), limit)
    return found


def _places(frame: FrameType | None, limit: int) -> list[str]:
    found: list[str] = []
    while frame is not None and len(found) < limit:
        code = frame.f_code
        if is_user_file(code.co_filename):
            found.append(place(code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return found
