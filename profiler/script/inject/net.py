"""The net below the overlay: what slips through it is refused, by Python's audit events and by the kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Events
    from .overlay import Overlay

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Audit events of functions that change files, and which of their arguments are paths.
_CHANGES = {
    "os.remove": (0,), "os.rmdir": (0,), "os.mkdir": (0,), "os.rename": (0, 1), "os.link": (1,),
    "os.symlink": (1,), "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,),
    "os.setxattr": (0,), "os.removexattr": (0,),
}  # fmt: skip
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}


def install_net(overlay: Overlay, is_allowed: Callable[[], bool], events: Events) -> None:
    """Refuse what would change a file of the user's; it lasts as long as the process.

    Args:
        overlay: Says which files are the user's.
        is_allowed: Whether what is done now is ours.
        events: Takes notes.
    """

    def refuse(path: Any, folder: Any = None) -> None:
        if isinstance(path, int):
            return
        place = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(place):
            place = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), place)
        if overlay.is_protected(overlay.resolve(place, follow=False)):
            events.count("refused", os.path.abspath(place))
            raise PermissionError(
                errno.EACCES, "sizeup run does not let a script change files, and cannot redirect this", place
            )

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING and path is not None and not is_allowed():
                refuse(path)
        elif event in _CHANGES:
            if not is_allowed():
                folder = arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else None
                for index in _CHANGES[event]:
                    refuse(arguments[index], folder)
        elif not is_kept and event in _PROGRAMS:
            program = arguments[0]
            if isinstance(program, str | bytes | os.PathLike):
                events.count("programs", os.path.basename(os.fsdecode(program).split(" ")[0]))

    is_kept = _restrict_to(overlay.own_folders)
    sys.addaudithook(audit)
    if not is_kept:
        events.note(
            "this kernel has no Landlock: files that compiled code or other programs write were not kept safe"
        )


# linux/landlock.h, the same numbers on every architecture; landlock(7).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38  # linux/prctl.h
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _restrict_to(folders: list[str]) -> bool:
    """Let the kernel refuse this process and its children to change files elsewhere; False if it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return False
    access = (
        _WRITE_FILE | _REMOVE_AND_MAKE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    )
    handled = ctypes.c_uint64(access)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            parent = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = _PathBeneath(access, parent)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
            os.close(parent)
        is_possible = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
        return is_possible and bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
