"""Starts a script in a process of its own, bounds its time, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from profiler.devices.virtual.one_rank import environment_variables
from profiler.errors import NotPossibleError
from profiler.harness.process import kill_group
from profiler.hollow.substitutable import substitution_settings
from profiler.script.places import HOLLOW_FOLDER, INJECTED_FOLDER, VIRTUAL_FOLDER
from profiler.script.record import EventReader, ScriptRun, script_run
from profiler.script.safety import RUN_VARIABLE, safe_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from profiler.devices.cuda import CudaDevice
    from profiler.script.command import ScriptCommand

DEFAULT_STEPS = 4
"""Optimizer steps at least, where no number is given."""
DEFAULT_TIME_LIMIT_SECONDS = 600.0

# The same number as in `inject.session`, which a process of ours must not import.
_STOP_SIGNAL = signal.SIGRTMIN + 3
_POLL_SECONDS = 0.1
# A script that was told to end, or has reported, gets this long to do so.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class ScriptRequest:
    """A script to run on a device."""

    command: ScriptCommand
    device: CudaDevice
    """A real GPU or a virtual one."""
    world_size: int = 1
    """How many GPUs this one is of."""
    steps: int | None = None
    """Optimizer steps to run; None for at least `DEFAULT_STEPS`, until the peaks no longer grow."""
    time_limit_seconds: float = DEFAULT_TIME_LIMIT_SECONDS
    snapshot: Path | None = None
    """Where torch's memory snapshot goes; nothing must be there."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.world_size < 1:
            raise ValueError(f"world_size must be at least 1, not {self.world_size}")
        if self.world_size > 1 and not self.is_virtual:
            raise ValueError(
                f"{self.device.name} is one GPU: only a virtual one can be one of {self.world_size}"
            )
        if self.time_limit_seconds <= 0:
            raise ValueError(f"time_limit_seconds must be above 0, not {self.time_limit_seconds}")

    @property
    def is_virtual(self) -> bool:
        """Whether the GPU is not there."""
        return self.device.origin == "virtual"

    @property
    def is_one_of_many(self) -> bool:
        """Whether the script is to find a group of processes, be it of one."""
        return self.world_size > 1 or self.command.launcher is not None


def run_script(
    request: ScriptRequest,
    *,
    output: IO[Any] | int | None = None,
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
) -> ScriptRun:
    """Run a script and watch it; Ctrl-C ends the script, and what was seen until then is returned.

    Args:
        request: What to run, and on what.
        output: Takes what the script prints to stdout; by default it goes where ours goes.
        on_event: Is told what happens, for progress.

    Raises:
        NotPossibleError: If the device is not there, or the script's interpreter cannot use it.
    """
    variables = {**request.device.child_environment(None), **request.command.environment}
    _check_interpreter(request)
    folder = Path(tempfile.mkdtemp(prefix="sizeup-run-")).resolve()
    try:
        return _Run(request, folder, variables, output=output, on_event=on_event).run()
    finally:
        _end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(
        self,
        request: ScriptRequest,
        folder: Path,
        variables: Mapping[str, str],
        *,
        output: IO[Any] | int | None,
        on_event: Callable[[Mapping[str, Any]], None] | None,
    ) -> None:
        self._request, self._folder, self._variables = request, folder, variables
        self._output, self._on_event = output, on_event
        self._events_file = folder / "events.jsonl"
        self._events = EventReader(self._events_file)
        self._snapshot = folder / "snapshot.pickle"
        self._was_interrupted = False
        self._has_reported = False

    def run(self) -> ScriptRun:
        for name in ("tmp", "caches", "hollow"):
            (self._folder / name).mkdir()
        started = time.monotonic()
        with _as_interrupt(signal.SIGTERM, signal.SIGHUP):
            process = self._start()
            sampler = None if self._request.is_virtual else self._request.device.sampler(process.pid)
            try:
                self._wait(process, started + self._request.time_limit_seconds)
            finally:
                kill_group(process.pid)
                process.wait()
                samples = sampler.stop() if sampler is not None else []
        self._events.read()
        held = [sample.process_used_bytes for sample in samples if sample.process_used_bytes is not None]
        return script_run(
            self._events.events,
            exit_code=process.returncode,
            seconds=time.monotonic() - started,
            was_interrupted=self._was_interrupted,
            peak_process_bytes=max(held, default=None),
            snapshot=self._keep_snapshot(),
        )

    def _start(self) -> subprocess.Popen[bytes]:
        request, command = self._request, self._request.command
        settings = self._folder / "settings.json"
        settings.write_text(json.dumps(self._settings()), encoding="utf-8")
        variables = {**self._variables, **safe_environment(self._folder), **_rank_variables(request)}
        return subprocess.Popen(
            [*command.interpreter, str(INJECTED_FOLDER / "bootstrap.py"), str(settings), command.kind,
             command.target, *command.arguments],
            stdout=self._output,
            env={**os.environ, **variables},
            start_new_session=True,
        )  # fmt: skip

    def _settings(self) -> dict[str, Any]:
        request = self._request
        return {
            "supervisor": os.getpid(),
            "folder": str(self._folder),
            "events": str(self._events_file),
            "steps": request.steps or DEFAULT_STEPS,
            "is_exact": request.steps is not None,
            "world_size": request.world_size,
            "is_one_of_many": request.is_one_of_many,
            "virtual_folder": str(VIRTUAL_FOLDER) if request.is_virtual else None,
            "hollow_folder": str(HOLLOW_FOLDER),
            # A real card computes with the weights, and so needs them.
            "substitution": substitution_settings(self._folder / "hollow") if request.is_virtual else None,
            "snapshot": str(self._snapshot) if request.snapshot is not None else None,
        }

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        """Wait for the script's end; tell it when the time is up, and kill it if it does not listen."""
        is_told = False
        while True:
            try:
                if self._ended(process):
                    return
                self._follow()
                if self._has_reported and not is_told:
                    is_told, deadline = True, time.monotonic() + _GRACE_SECONDS
                if time.monotonic() < deadline:
                    continue
                if is_told:
                    return
                is_told, deadline = True, time.monotonic() + _GRACE_SECONDS
                os.kill(process.pid, _STOP_SIGNAL)
            except KeyboardInterrupt:
                if self._was_interrupted:
                    return
                self._was_interrupted = is_told = True
                deadline = time.monotonic() + _GRACE_SECONDS
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)

    @staticmethod
    def _ended(process: subprocess.Popen[bytes]) -> bool:
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _follow(self) -> None:
        for event in self._events.read():
            self._has_reported |= event["event"] == "end"
            if self._on_event is not None:
                self._on_event(event)

    def _keep_snapshot(self) -> Path | None:
        target = self._request.snapshot
        if target is None or not self._snapshot.is_file():
            return None
        with self._snapshot.open("rb") as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
        return target


def _rank_variables(request: ScriptRequest) -> dict[str, str]:
    return environment_variables(request.world_size) if request.is_one_of_many else {}


@contextlib.contextmanager
def _as_interrupt(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals that end this process act as Ctrl-C does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_processes(folder: Path) -> None:
    """End what the script started and left, in whichever session; the run's name is in its environment."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(RUN_VARIABLE) == str(folder):
                process.kill()


_VERSIONS = """\
import importlib.util, json, pathlib, sys
spec = importlib.util.find_spec("torch")
version = {}
if spec is not None and spec.origin is not None:
    exec(pathlib.Path(spec.origin).with_name("version.py").read_text(), version)
print(json.dumps([sys.version_info[:2] >= (3, 11), version.get("__version__"), version.get("cuda")]))
"""


def _check_interpreter(request: ScriptRequest) -> None:
    """See that the script's interpreter has the torch that the virtual GPU was compiled for.

    Raises:
        NotPossibleError: If it has not; it says what it has.
    """
    interpreter = request.command.interpreter
    if Path(shutil.which(interpreter[0]) or interpreter[0]).resolve() == Path(sys.executable).resolve() and (
        os.path.dirname(shutil.which(interpreter[0]) or "") == os.path.dirname(sys.executable)
    ):
        return
    done = subprocess.run(
        [*interpreter, "-c", _VERSIONS], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    name = " ".join(interpreter)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotPossibleError(f"{name} cannot be run: {said[-1]}")
    is_new, torch_version, cuda_version = json.loads(done.stdout.strip().splitlines()[-1])
    if not is_new:
        raise NotPossibleError(
            f"{name} is older than Python 3.11, which sizeup needs in the script's process"
        )
    if torch_version is None:
        raise NotPossibleError(
            f"{name} has no torch: name the script's own python, or activate its environment"
        )
    if not request.is_virtual:
        return
    from profiler.devices.virtual.torch_build import torch_build

    build = torch_build()
    if (torch_version.partition("+")[0], cuda_version) != (
        build.torch_version.partition("+")[0], build.cuda_version,
    ):  # fmt: skip
        raise NotPossibleError(
            f"{name} has torch {torch_version} (CUDA {cuda_version}), and the virtual GPU is for torch "
            f"{build.torch_version} (CUDA {build.cuda_version}) of sizeup: install sizeup beside the "
            "script's torch"
        )
