"""One script, watched from its first line to its last."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

from . import history
from .allocator_peaks import AllocatorPeaks
from .events import Events
from .files import FileGuard
from .hub import guard_uploads
from .imports import ImportHooks
from .out_of_memory import OutOfMemoryWatch
from .saving import SavingGuard
from .stopping import StepCount, Stopped
from .target import run_target
from .tensors import TensorLabels
from .timeline import Timeline
from .torch_hooks import TorchHooks
from .trainers import guard_trainers
from .user_code import is_user_file, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType, TracebackType

# Which the supervisor sends when the time is up; scripts use the named ones themselves.
STOP_SIGNAL = signal.SIGRTMIN + 3
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_VIRTUAL, _HOLLOW = "_sizeup_virtual", "_sizeup_hollow"
_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep

# Errors that mean that memory ran out, though torch's allocator did not raise them.
_OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")


def run(settings_path: str, kind: str, target: str, arguments: Sequence[str]) -> int:
    """Run a script and report on it; returns the exit code of the process.

    Args:
        settings_path: JSON of the supervisor's `InjectedSettings`.
        kind: `script` or `module`.
        target: Its path or name.
        arguments: Its command line.
    """
    with open(settings_path, encoding="utf-8") as file:
        settings = json.load(file)
    _die_with(settings["supervisor"])
    return _Session(settings).run(kind, target, arguments)


def _die_with(supervisor: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


class _Session:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._events = Events(settings["events"])
        self._steps = StepCount(least=settings["steps"], is_exact=settings["is_exact"])
        self._labels = TensorLabels()
        self._imports = ImportHooks()
        self._files = FileGuard(settings["folder"], self._events)
        self._torch: Any = None
        self._peaks = AllocatorPeaks()
        self._timeline = Timeline(self._peaks, self._events)
        self._out_of_memory = OutOfMemoryWatch(self._timeline, self._peaks)
        self._hooks = TorchHooks(
            timeline=self._timeline,
            peaks=self._peaks,
            steps=self._steps,
            labels=self._labels,
            events=self._events,
        )
        self._noted: list[Callable[[], Sequence[str]]] = []
        self._has_ended = False

    def run(self, kind: str, target: str, arguments: Sequence[str]) -> int:
        signal.signal(STOP_SIGNAL, self._time_is_up)
        self._imports.install()
        self._imports.after("torch", self._watch_torch)
        SavingGuard(self._files, self._timeline, self._steps, self._events).install(self._imports)
        guard_trainers(self._imports, self._steps, self._hooks, self._events)
        guard_uploads(self._imports, self._events)
        self._install_substitution()
        self._load_virtual_parts()
        self._files.install(self._imports)
        self._events.write("started")
        ending: dict[str, Any] = {"outcome": "ended"}
        code = 0
        try:
            run_target(kind, target, arguments)
        except Stopped as stopped:
            ending = {"outcome": "stopped", "reason": stopped.reason}
        except KeyboardInterrupt:
            ending, code = {"outcome": "interrupted"}, 130
        except SystemExit as error:
            code = _exit_code(error)
            if code:
                # A script that handles the error itself makes an exit code of it.
                outcome = "error" if self._out_of_memory.last is None else "oom"
                ending = {"outcome": outcome, "message": _last_words(error, code)}
        except BaseException as error:
            ending, code = self._failure(error), 1
            trace = _script_part(error.__traceback__)
            sys.excepthook(type(error), error.with_traceback(trace), trace)
        self._has_ended = True
        self._report(ending)
        return code

    def _time_is_up(self, number: int, frame: Any) -> None:
        if not self._has_ended:
            raise Stopped("time")

    def _watch_torch(self, torch: ModuleType) -> None:
        self._torch = torch
        self._install_virtual_parts()
        self._peaks.watch(torch)
        self._out_of_memory.watch(torch)
        history.record(torch)
        self._hooks.watch(torch)

    def _load_virtual_parts(self) -> None:
        """Make the modules for a virtual GPU there, and have what it lacks noted, also without torch."""
        if (folder := self._settings["virtual_folder"]) is not None:
            _private_package(_VIRTUAL, folder)
            self._noted.append(importlib.import_module(f"{_VIRTUAL}.core").notes)

    def _install_virtual_parts(self) -> None:
        """Let integers compute, and one process stand for all ranks, where the supervisor asks for it."""
        if self._settings["virtual_folder"] is None:
            return
        self._noted.append(importlib.import_module(f"{_VIRTUAL}.values").install().notes)
        if self._settings["is_one_of_many"]:
            importlib.import_module(f"{_VIRTUAL}.one_rank").install(self._settings["world_size"])

    def _install_substitution(self) -> None:
        """Give the script hollow checkpoints for models that are not here."""
        if (settings := self._settings["substitution"]) is not None:
            _private_package(_HOLLOW, self._settings["hollow_folder"])
            substitution = importlib.import_module(f"{_HOLLOW}.substitution")
            substitution.install(self._imports, settings, self._events.note)

    def _failure(self, error: BaseException) -> dict[str, Any]:
        chain = _chain(error)
        is_oom = any(self._is_out_of_memory(link) for link in chain)
        lines = _user_lines(error.__traceback__)
        said = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        ending: dict[str, Any] = {"outcome": "oom" if is_oom else "error", "message": message}
        if lines:
            ending["line"] = lines[-1]
        return ending

    def _is_out_of_memory(self, error: BaseException) -> bool:
        if self._torch is not None and isinstance(error, self._torch.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)

    def _report(self, ending: dict[str, Any]) -> None:
        """Write what is known at the end; a part that cannot be told is left out, with a note."""
        for part in (self._report_memory, self._report_notes):
            try:
                part(ending)
            except Exception as error:
                self._events.note(f"not reported: {type(error).__name__}: {error}")
                self._events.write("trace", text="".join(traceback.format_exception(error)))
        self._events.write_counts()
        self._events.write("end", **ending)

    def _report_memory(self, ending: dict[str, Any]) -> None:
        self._timeline.end()
        ending["used_gpu"] = self._peaks.is_there
        if self._out_of_memory.last is not None:
            ending["oom"] = self._out_of_memory.last
        if not self._peaks.is_there:
            return
        ending |= self._peaks.counters()
        snapshot = history.take_snapshot(self._torch)
        if (path := self._settings.get("snapshot")) is not None:
            with self._files.allowed():
                history.write_snapshot(snapshot, path)
        ending["holders"] = history.holders_at_peak(
            snapshot, borders=self._timeline.borders, labels=self._labels.seen
        )

    def _report_notes(self, ending: dict[str, Any]) -> None:
        for notes in self._noted:
            for note in notes():
                self._events.note(note)


def _private_package(name: str, folder: str) -> None:
    """Let modules of a folder of ours be imported under a private name.

    The package's own code is left out: it imports ours by names that may be the user's.
    """
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package


def _exit_code(error: SystemExit) -> int:
    """Return what Python makes of `sys.exit(...)`: a text is printed, and means 1."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)  # noqa: T201  # the script's own last words
    return 1


def _last_words(error: SystemExit, code: int) -> str:
    words = [] if isinstance(error.code, int) else str(error.code).strip().splitlines()
    return words[0] if words else f"it exited with code {code}"


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error, and those that it was raised from or while handling."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _script_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the script's first frame on."""
    while trace is not None and (
        trace.tb_frame.f_code.co_filename.startswith(_FOLDER)
        or trace.tb_frame.f_code.co_filename == "<frozen runpy>"
    ):
        trace = trace.tb_next
    return trace


def _user_lines(trace: TracebackType | None) -> list[str]:
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if is_user_file(code.co_filename):
            lines.append(place(code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return lines
