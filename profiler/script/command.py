"""What a user's command line starts: which interpreter, which script, and in place of which launcher."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.errors import NotPossibleError, UsageError
from profiler.script.places import INJECTED_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
_FLAGS_WITH_VALUE = "WX"
_LAUNCHER_SECONDS = 120

# Modules and programs that start a script once for each GPU.
_LAUNCHERS = {
    "torchrun": "torchrun", "torch.distributed.run": "torchrun", "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "accelerate",
}  # fmt: skip
_ALLOWED = "python train.py, python -m MODULE, train.py, torchrun, accelerate launch, or a Python program"


@dataclass(frozen=True, kw_only=True)
class ScriptCommand:
    """A script to run, once."""

    interpreter: tuple[str, ...]
    """Python, with its flags."""
    kind: str
    """`script` or `module`."""
    target: str
    """Path of the script, or name of the module."""
    arguments: tuple[str, ...] = ()
    launcher: str | None = None
    """What was to start it: `torchrun`, `accelerate`, or nothing."""
    world_size: int | None = None
    """How often the launcher was to start it; None without one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the launcher sets."""


def script_command(words: Sequence[str], *, environment: Mapping[str, str]) -> ScriptCommand:
    """Understand a command line.

    Args:
        words: As the shell would run them.
        environment: Variables that a launcher is to see besides this process's own.

    Raises:
        UsageError: If it starts no Python script, or the script is not there.
        NotPossibleError: If its launcher cannot be understood by the installed version.
    """
    if not words:
        raise UsageError(f"say what to run after --: {_ALLOWED}")
    program, *rest = words
    name = os.path.basename(program)
    if _PYTHON.fullmatch(name):
        return _python(program, rest, environment)
    if name.endswith(".py"):
        return _script((sys.executable,), program, rest)
    if name == "deepspeed":
        return _deepspeed(rest)
    if name == "accelerate":
        if rest[:1] != ["launch"]:
            raise UsageError("of accelerate, sizeup run takes accelerate launch")
        return _launched("accelerate", _interpreter_of(program), rest[1:], environment)
    if name in _LAUNCHERS:
        return _launched(_LAUNCHERS[name], _interpreter_of(program), rest, environment)
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"cannot run {program}: there is no such program; allowed: {_ALLOWED}")
    return ScriptCommand(
        interpreter=_interpreter_of(program), kind="script", target=found, arguments=tuple(rest)
    )


def _python(program: str, words: Sequence[str], environment: Mapping[str, str]) -> ScriptCommand:
    if shutil.which(program) is None:
        raise UsageError(f"cannot run {program}: there is no such program")
    interpreter, words = [program], list(words)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--" or word.startswith("--"):
            interpreter.append(word)
            continue
        for index, letter in enumerate(word[1:], start=1):
            value = word[index + 1 :]
            if letter == "c":
                raise UsageError("sizeup run takes a script or -m MODULE, not python -c")
            if letter == "m":
                module = value or (words.pop(0) if words else "")
                interpreter += [word[:index]] if index > 1 else []
                return _module(tuple(interpreter), module, words, environment)
            if letter in _FLAGS_WITH_VALUE:
                interpreter += [word] if value else [word, *words[:1]]
                words = words if value else words[1:]
                break
        else:
            interpreter.append(word)
    if not words or words[0] == "-":
        raise UsageError(f"say which script {program} is to run")
    return _script(tuple(interpreter), words[0], words[1:])


def _script(interpreter: tuple[str, ...], path: str, arguments: Sequence[str]) -> ScriptCommand:
    if not Path(path).is_file():
        raise UsageError(f"there is no script {path}")
    return ScriptCommand(interpreter=interpreter, kind="script", target=path, arguments=tuple(arguments))


def _module(
    interpreter: tuple[str, ...], module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> ScriptCommand:
    if not module:
        raise UsageError("say which module python -m is to run")
    if module in _LAUNCHERS:
        return _launched(_LAUNCHERS[module], interpreter, arguments, environment)
    return ScriptCommand(interpreter=interpreter, kind="module", target=module, arguments=tuple(arguments))


def _interpreter_of(program: str) -> tuple[str, ...]:
    """Return the interpreter of an installed Python program, which its first line names."""
    found = shutil.which(program)
    if found is None:
        raise UsageError(f"cannot run {program}: there is no such program")
    with open(found, "rb") as file:
        first = file.readline(4096).decode(errors="replace").strip()
    words = first.removeprefix("#!").split()
    if not first.startswith("#!") or not any(_PYTHON.fullmatch(os.path.basename(word)) for word in words):
        raise UsageError(f"{program} is no Python program; allowed: {_ALLOWED}")
    if os.path.basename(words[0]) == "env":
        words = words[1:]
    return tuple(words)


def _launched(
    launcher: str, interpreter: tuple[str, ...], words: Sequence[str], environment: Mapping[str, str]
) -> ScriptCommand:
    """Ask the launcher's own code what it would start."""
    try:
        done = subprocess.run(
            [*interpreter, str(INJECTED_FOLDER / "launcher.py"), launcher, *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LAUNCHER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotPossibleError(f"{launcher} cannot be asked what it starts: {error}") from None
    if done.returncode != 0 or not done.stdout.strip():
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(f"{launcher} does not understand its command line: {said[-1].strip()}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["kind"] == "script" and not Path(found["target"]).is_file():
        raise UsageError(f"there is no script {found['target']}")
    return ScriptCommand(
        interpreter=interpreter,
        kind=found["kind"],
        target=found["target"],
        arguments=tuple(found["arguments"]),
        launcher=launcher,
        world_size=found["world_size"],
        environment=found["environment"],
    )


def _deepspeed(words: Sequence[str]) -> ScriptCommand:
    """Take DeepSpeed's launcher apart by its documented options (deepspeed --help)."""
    rest = list(words)
    gpus = nodes = 1
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in ("--module", "--no_local_rank", "--no_ssh", "--force_multi"):
            if name == "--module":
                raise UsageError("of deepspeed, sizeup run takes a script, not --module")
            continue
        if not equals:
            value = rest.pop(0) if rest else ""
        if name in ("--num_gpus", "--num_nodes"):
            if not value.isdigit():
                raise UsageError(f"deepspeed {name} takes a number, not {value!r}")
            gpus, nodes = (int(value), nodes) if name == "--num_gpus" else (gpus, int(value))
    if not rest:
        raise UsageError("say which script deepspeed is to run")
    command = _script(_interpreter_of("deepspeed"), rest[0], rest[1:])
    return ScriptCommand(
        interpreter=command.interpreter,
        kind="script",
        target=command.target,
        arguments=command.arguments,
        launcher="deepspeed",
        world_size=gpus * nodes,
    )
