"""Puts the overlay in the way of everything that Python reads and writes by a path."""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import io
import os
import threading
from typing import TYPE_CHECKING, Any

from .net import install_net
from .overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from .events import Events
    from .imports import ImportHooks

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class FileGuard:
    """Redirects what the script writes; counts it by folder.

    Args:
        folder: Of the run; what is in it is written as it is.
        events: Takes the counts.
    """

    def __init__(self, folder: str, events: Events) -> None:
        self._overlay = Overlay(folder)
        self._events = events
        self._here = threading.local()
        self._lock = threading.RLock()

    def install(self, imports: ImportHooks) -> None:
        """Begin; from now on nothing of the user's is written."""
        real = builtins.open
        guarded = self._guarded_open(real)
        builtins.open = guarded
        io.open = guarded
        self._replace_reading()
        self._replace_writing()
        imports.after("shutil", _remove_trees_by_path)
        imports.after("sqlite3.dbapi2", self._guard_sqlite)
        imports.after("sqlite3", self._guard_sqlite)
        install_net(self._overlay, lambda: self._is_allowed, self._events)

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Leave what is done in here alone; it is ours."""
        before, self._here.allowed = self._is_allowed, True
        try:
            yield
        finally:
            self._here.allowed = before

    @property
    def _is_allowed(self) -> bool:
        return getattr(self._here, "allowed", False)

    def to_write(self, path: Any, *, keep: bool = False) -> str:
        """Return where to write what the script would write to a path; for what compiled code opens.

        Raises:
            OSError: If the script could not write there either.
        """
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=True)
            if not self._overlay.is_protected(resolved):
                return resolved
            where = self._overlay.writable(resolved, keep=keep)
            self._events.count("redirected", os.path.dirname(os.path.abspath(os.fsdecode(path))))
            return where

    def to_read(self, path: Any, *, follow: bool = True) -> Any:
        """Return where what the script sees at a path is; what is no path is returned as it is."""
        if self._overlay.is_empty or not isinstance(path, str | bytes | os.PathLike):
            return path
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=follow)
            if not self._overlay.is_protected(resolved):
                return path
            where = self._overlay.seen(resolved)
            return path if where == resolved else where

    def _guarded_open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def guarded(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            is_ours = isinstance(file, int) or (named.get("opener") or arguments[5:6]) or self._is_allowed
            if is_ours or not isinstance(mode, str):
                return real(file, mode, *arguments, **named)
            if not set(mode) & set("wax+"):
                with _named(file):
                    return real(self.to_read(file), mode, *arguments, **named)
            if "x" in mode and self._sees(file):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(file))
            if mode.startswith("r") and not self._sees(file):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(file))
            with _named(file):
                return real(self.to_write(file, keep="w" not in mode), mode, *arguments, **named)

        return guarded

    def _sees(self, path: Any) -> bool:
        with self._lock, self.allowed():
            return self._overlay.exists(self._overlay.resolve(os.fsdecode(path), follow=True))

    def _replace_reading(self) -> None:
        for name in ("stat", "access", "chdir", "statvfs", "getxattr", "listxattr"):
            self._replace(name, functools.partial(self._read, follow=True))
        for name in ("lstat", "readlink"):
            self._replace(name, functools.partial(self._read, follow=False))
        self._replace("listdir", self._list)
        self._replace("scandir", self._scan)

    def _replace(self, name: str, guarded: Callable[..., Any]) -> None:
        real = getattr(os, name)

        @functools.wraps(real)
        def replacement(*arguments: Any, **named: Any) -> Any:
            if self._is_allowed or named.get("dir_fd") is not None:
                return real(*arguments, **named)
            return guarded(real, *arguments, **named)

        setattr(os, name, replacement)

    def _read(self, real: Callable[..., Any], path: Any, *arguments: Any, follow: bool, **named: Any) -> Any:
        follow = follow and named.get("follow_symlinks", True)
        with _named(path):
            return real(self.to_read(path, follow=follow), *arguments, **named)

    def _list(self, real: Callable[..., Any], path: Any = ".") -> Any:
        merged = self._merged(path)
        if merged is None:
            with _named(path):
                return real(path)
        names = list(merged)
        return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

    def _scan(self, real: Callable[..., Any], path: Any = ".") -> Any:
        merged = self._merged(path)
        if merged is None:
            with _named(path):
                return real(path)
        return _Entries(_Entry(os.path.join(os.fspath(path), name), where) for name, where in merged.items())

    def _merged(self, path: Any) -> dict[str, str] | None:
        """Return the names in a folder that the script has changed, and where they are; else None."""
        if self._overlay.is_empty or isinstance(path, int):
            return None
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=True)
            if not self._overlay.is_protected(resolved):
                return None
            names = self._overlay.names(resolved)
            return {name: self._overlay.seen(os.path.join(resolved, name)) for name in names}

    def _replace_writing(self) -> None:
        self._replace("open", self._open)
        for name, act in (
            ("mkdir", self._overlay.make_folder),
            ("unlink", self._overlay.remove),
            ("remove", self._overlay.remove),
            ("rmdir", self._overlay.remove_folder),
        ):
            self._replace(name, functools.partial(self._change, act))
        for name in ("rename", "replace"):
            self._replace(name, self._move)
        self._replace("symlink", self._link)
        self._replace("truncate", self._truncate)
        for name in ("utime", "chmod", "chown", "lchown", "setxattr", "removexattr"):
            self._replace(name, self._set)

    def _open(self, real: Callable[..., int], path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if not flags & _WRITING:
            return real(self.to_read(path), flags, *arguments, **named)
        is_there = self._sees(path)
        if is_there and flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
        if not is_there and not flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        return real(self.to_write(path, keep=not flags & os.O_TRUNC), flags, *arguments, **named)

    def _change(
        self, act: Callable[[str], None], real: Callable[..., Any], path: Any, *arguments: Any, **named: Any
    ) -> Any:
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=False)
            if not self._overlay.is_protected(resolved):
                return real(path, *arguments, **named)
            act(resolved)
            self._events.count("redirected", os.path.dirname(os.path.abspath(os.fsdecode(path))))
            return None

    def _move(self, real: Callable[..., Any], source: Any, target: Any, **named: Any) -> Any:
        with self._lock, self.allowed():
            paths = [self._overlay.resolve(os.fsdecode(path), follow=False) for path in (source, target)]
            are_protected = [self._overlay.is_protected(path) for path in paths]
            if not any(are_protected):
                return real(source, target, **named)
            self._events.count("redirected", os.path.dirname(os.path.abspath(os.fsdecode(target))))
            if all(are_protected):
                return self._overlay.move(*paths)
            if are_protected[1]:  # from the run's own folder, such as a temporary file
                return real(source, self._overlay.writable(paths[1], keep=False))
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fspath(source))  # it is copied, then

    def _link(self, real: Callable[..., Any], target: Any, path: Any, *arguments: Any, **named: Any) -> Any:
        link = functools.partial(self._overlay.link, os.fsdecode(target))
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=False)
            if not self._overlay.is_protected(resolved):
                return real(target, path, *arguments, **named)
            link(resolved)
            self._events.count("redirected", os.path.dirname(os.path.abspath(os.fsdecode(path))))
            return None

    def _truncate(self, real: Callable[..., Any], path: Any, length: int) -> Any:
        return real(path if isinstance(path, int) else self.to_write(path, keep=True), length)

    def _set(self, real: Callable[..., Any], path: Any, *arguments: Any, **named: Any) -> Any:
        """Change what is known of a file: of a new one, it is done; of one of the user's, it is left out."""
        if isinstance(path, int):
            return real(path, *arguments, **named)
        with self._lock, self.allowed():
            resolved = self._overlay.resolve(os.fsdecode(path), follow=named.get("follow_symlinks", True))
            where = self._overlay.seen(resolved)
            if where != resolved or not self._overlay.is_protected(resolved):
                return real(where, *arguments, **named)
            self._events.count("redirected", os.path.dirname(os.path.abspath(os.fsdecode(path))))
            return None

    def _guard_sqlite(self, module: ModuleType) -> None:
        real = module.connect

        @functools.wraps(real)
        def connect(database: Any, *arguments: Any, **named: Any) -> Any:
            is_file = isinstance(database, str | bytes | os.PathLike) and database not in ("", ":memory:")
            if is_file and not named.get("uri") and not self._is_allowed:
                database = self.to_write(database, keep=True)
            return real(database, *arguments, **named)

        if not hasattr(real, "__wrapped__"):
            module.connect = connect  # type: ignore[attr-defined]


def _remove_trees_by_path(shutil: ModuleType) -> None:
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # descriptors go past the overlay


@contextlib.contextmanager
def _named(path: Any) -> Iterator[None]:
    """Let an error name the path that the script knows."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not isinstance(path, int):
            error.filename = os.fspath(path)
        raise


class _Entry:
    """What `os.DirEntry` is, for a file that may be elsewhere."""

    def __init__(self, path: Any, where: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self._where = where

    def __fspath__(self) -> Any:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self._where, follow_symlinks=follow_symlinks)

    def inode(self) -> int:
        return self.stat(follow_symlinks=False).st_ino

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isdir(self._where) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return os.path.isfile(self._where) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        return os.path.islink(self._where)

    def is_junction(self) -> bool:
        return False


class _Entries:
    """What `os.scandir` returns."""

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[_Entry]:
        return self._entries

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())
