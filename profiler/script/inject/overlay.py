"""The user's files with the script's changes laid over them: nothing of the user's is ever written.

What the script writes goes to a folder of its own (the upper one) under the same path; what it removes is
only hidden. Reads look into the upper folder first. The real functions of `os` are taken before anything
replaces them.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_real_lstat, _real_listdir, _real_mkdir = os.lstat, os.listdir, os.mkdir
_real_unlink, _real_rmdir, _real_replace, _real_symlink = os.unlink, os.rmdir, os.replace, os.symlink
_real_open, _real_close, _real_readlink = os.open, os.close, os.readlink
_CHUNK_BYTES = 2**20

# What a script writes to is no file of the user's.
_DEVICES = ("/dev", "/proc", "/sys")


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def lexists(path: str) -> bool:
    """Whether something is there, a broken link included."""
    try:
        _real_lstat(path)
    except (OSError, ValueError):
        return False
    return True


def is_under(path: str, folder: str) -> bool:
    """Whether an absolute path is a folder or in it."""
    return path == folder or path.startswith(folder + os.sep)


class Overlay:
    """Maps the paths of a script; paths are absolute, and the folders in them are no links (`resolve`).

    Args:
        folder: Of the run: what is in it is the run's own, and written as it is.
    """

    def __init__(self, folder: str) -> None:
        self._folder = _realpath(folder)
        self._upper = os.path.join(self._folder, "files")
        self._hidden: set[str] = set()
        self.is_empty = True
        """Whether nothing was written or removed yet."""

    @property
    def own_folders(self) -> list[str]:
        """What is not the user's."""
        return [self._folder, *_DEVICES]

    def resolve(self, path: str, *, follow: bool) -> str:
        """Return a path without links: in its folders, and with `follow` in its last part, too."""
        path = os.path.abspath(path)
        if follow:
            return _realpath(path)
        head, tail = os.path.split(path)
        return os.path.join(_realpath(head), tail)

    def is_protected(self, path: str) -> bool:
        """Whether a path is the user's: neither the run's own nor a device."""
        return not any(is_under(path, folder) for folder in self.own_folders)

    def seen(self, path: str) -> str:
        """Return where what the script sees at a path really is: where nothing is, if it is hidden."""
        upper = self._upper + path
        return upper if lexists(upper) or self._is_hidden(path) else path

    def exists(self, path: str) -> bool:
        """Whether the script sees something at a path."""
        return lexists(self.seen(path))

    def is_folder(self, path: str) -> bool:
        """Whether the script sees a folder at a path."""
        try:
            return stat.S_ISDIR(_real_lstat(self.seen(path)).st_mode)
        except OSError:
            return False

    def _is_hidden(self, path: str) -> bool:
        while path not in ("/", ""):
            if path in self._hidden:
                return True
            path = os.path.dirname(path)
        return False

    def writable(self, path: str, *, keep: bool) -> str:
        """Return where to write what the script writes to a file.

        Args:
            path: The file.
            keep: Whether what is in it stays: it is copied.

        Raises:
            OSError: If there is no such folder, or the path is one.
        """
        if self.is_folder(path):
            raise _error(errno.EISDIR, path)
        self._need_folder(os.path.dirname(path))
        upper, source = self._upper + path, self.seen(path)
        is_link_out = os.path.islink(upper) and self.is_protected(_realpath(upper))
        if is_link_out:
            source = _realpath(upper)
            _real_unlink(upper)
        if keep and lexists(source) and not lexists(upper):
            _copy(source, upper)
        self.is_empty = False
        return upper

    def _need_folder(self, path: str) -> None:
        """Make a folder of the user's in the upper one, too."""
        if not self.exists(path):
            raise _error(errno.ENOENT, path)
        if not self.is_folder(path):
            raise _error(errno.ENOTDIR, path)
        missing = []
        while not lexists(self._upper + path):
            missing.append(path)
            path = os.path.dirname(path)
            if path == "/":
                break
        if not lexists(self._upper):
            _real_mkdir(self._upper)
        for folder in reversed(missing):
            _real_mkdir(self._upper + folder)

    def make_folder(self, path: str) -> None:
        """Make a folder, as `os.mkdir`."""
        if self.exists(path):
            raise _error(errno.EEXIST, path)
        self._need_folder(os.path.dirname(path))
        _real_mkdir(self._upper + path)
        self.is_empty = False

    def remove(self, path: str) -> None:
        """Remove a file, as `os.unlink`."""
        if not self.exists(path):
            raise _error(errno.ENOENT, path)
        if self.is_folder(path):
            raise _error(errno.EISDIR, path)
        if lexists(self._upper + path):
            _real_unlink(self._upper + path)
        self._hide(path)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder, as `os.rmdir`."""
        if not self.exists(path):
            raise _error(errno.ENOENT, path)
        if not self.is_folder(path):
            raise _error(errno.ENOTDIR, path)
        if self.names(path):
            raise _error(errno.ENOTEMPTY, path)
        if lexists(self._upper + path):
            _real_rmdir(self._upper + path)
        self._hide(path)

    def _hide(self, path: str) -> None:
        if lexists(path):
            self._hidden.add(path)
        self.is_empty = False

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, as `os.listdir`."""
        upper, is_seen_below = self._upper + path, not self._is_hidden(path)
        if not lexists(upper):
            if not is_seen_below:
                raise _error(errno.ENOENT, path)
            return [name for name in _real_listdir(path) if os.path.join(path, name) not in self._hidden]
        names = dict.fromkeys(_real_listdir(upper))
        if is_seen_below and lexists(path):
            names |= dict.fromkeys(
                name for name in _real_listdir(path) if os.path.join(path, name) not in self._hidden
            )
        return list(names)

    def move(self, source: str, target: str) -> None:
        """Rename a file or folder, as `os.replace`."""
        if not self.exists(source):
            raise _error(errno.ENOENT, source)
        if source == target:
            return
        self._need_folder(os.path.dirname(target))
        if self.is_folder(source):
            if self.exists(target):
                self.remove_folder(target)
            self.make_folder(target)
            for name in self.names(source):
                self.move(os.path.join(source, name), os.path.join(target, name))
            self.remove_folder(source)
            return
        if self.is_folder(target):
            raise _error(errno.EISDIR, target)
        where, upper = self.seen(source), self._upper + target
        if lexists(upper):
            _real_unlink(upper)
        if where == source:
            _real_symlink(
                source, upper
            )  # not a copy: it may be a checkpoint; `writable` never writes through
        else:
            _real_replace(where, upper)
        self._hide(source)

    def link(self, target: str, path: str) -> None:
        """Make a symbolic link at a path.

        Args:
            target: As the script gave it.
            path: Where.
        """
        if self.exists(path):
            raise _error(errno.EEXIST, path)
        self._need_folder(os.path.dirname(path))
        absolute = os.path.normpath(os.path.join(os.path.dirname(path), target))
        upper = self._upper + absolute
        # A link between two new files works where they are; to an old one, it has to point out.
        _real_symlink(
            target if lexists(upper) and not os.path.isabs(target) else self.seen(absolute),
            self._upper + path,
        )
        self.is_empty = False


def _realpath(path: str) -> str:
    """Return `os.path.realpath`, by the real functions of `os`."""
    parts: Sequence[str] = [part for part in os.path.abspath(path).split(os.sep) if part]
    todo, found, links = list(reversed(parts)), "", 0
    while todo:
        part = todo.pop()
        if part == os.pardir:
            found = os.path.dirname(found)
            continue
        here = found + os.sep + part
        try:
            is_link = stat.S_ISLNK(_real_lstat(here).st_mode)
        except (OSError, ValueError):
            is_link = False
        links += is_link
        if not is_link or links > 40:  # ELOOP of Linux
            found = here
            continue
        target = _real_readlink(here)
        if os.path.isabs(target):
            found = ""
        todo += [part for part in reversed(target.split(os.sep)) if part not in ("", os.curdir)]
    return found or "/"


def _copy(source: str, target: str) -> None:
    """Copy what a file holds."""
    read = _real_open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        write = _real_open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            while data := os.read(read, _CHUNK_BYTES):
                os.write(write, data)
        finally:
            _real_close(write)
    finally:
        _real_close(read)
