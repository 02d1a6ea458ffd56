import os
import sys

import pytest

from profiler.errors import UsageError
from profiler.script import script_command


@pytest.fixture
def understand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    program = tmp_path / "bin" / "my-trainer"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (program.parent / "deepspeed").write_text(f"#!{sys.executable}\n")
    (program.parent / "deepspeed").chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return lambda *words: script_command(words, environment={})


@pytest.mark.parametrize(
    ("words", "interpreter", "kind", "target", "arguments"),
    [
        ("python train.py --lr 1", ("python",), "script", "train.py", ("--lr", "1")),
        ("python -u -X dev train.py -m", ("python", "-u", "-X", "dev"), "script", "train.py", ("-m",)),
        ("python -Wignore train.py", ("python", "-Wignore"), "script", "train.py", ()),
        ("python -W ignore -m pack.train a", ("python", "-W", "ignore"), "module", "pack.train", ("a",)),
        ("python -um pack", ("python", "-u"), "module", "pack", ()),
        ("python -mpack", ("python",), "module", "pack", ()),
        ("train.py x", (sys.executable,), "script", "train.py", ("x",)),
    ],
)
def test_a_command_line_of_python(understand, words, interpreter, kind, target, arguments):
    command = understand(*words.split())
    assert (command.interpreter, command.kind) == (interpreter, kind)
    assert (command.target, command.arguments) == (target, arguments)
    assert (command.launcher, command.world_size) == (None, None)


def test_an_installed_program_is_run_by_its_own_interpreter(understand, tmp_path):
    command = understand("my-trainer", "sft")
    assert (command.interpreter, command.arguments) == ((sys.executable,), ("sft",))
    assert command.target == str(tmp_path / "bin" / "my-trainer")


def test_deepspeed_is_taken_apart(understand):
    command = understand("deepspeed", "--num_gpus=4", "--num_nodes", "2", "train.py", "--x")
    assert (command.target, command.arguments, command.world_size) == ("train.py", ("--x",), 8)


def test_torchrun_is_asked_itself(understand):
    flags = "--nnodes 1:2 --nproc_per_node=4 --rdzv_backend c10d"
    words = [*flags.split(), "train.py", "--x"]
    command = understand(sys.executable, "-m", "torch.distributed.run", *words)
    assert (command.launcher, command.world_size) == ("torchrun", 8)
    assert (command.kind, command.target, command.arguments) == ("script", "train.py", ("--x",))


@pytest.mark.slow
def test_accelerate_is_asked_itself(understand, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-configuration"))
    flags = "--multi_gpu --num_processes 4 --mixed_precision bf16"
    command = understand(sys.executable, "-m", "accelerate.commands.launch", *flags.split(), "train.py")
    assert (command.launcher, command.world_size, command.target) == ("accelerate", 4, "train.py")
    assert command.environment["ACCELERATE_MIXED_PRECISION"] == "bf16"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "say what to run after --"),
        ("python", "say which script python is to run"),
        ("python missing.py", "there is no script missing.py"),
        ("missing.py", "there is no script missing.py"),
        ("python -c pass", "not python -c"),
        ("python -m", "say which module"),
        ("python9.9 train.py", "there is no such program"),
        ("no-such-program-here", "there is no such program; allowed: python train.py"),
        ("sh train.py", "sh is no Python program"),
        ("accelerate config", "sizeup run takes accelerate launch"),
        ("deepspeed --num_gpus many train.py", "--num_gpus takes a number"),
        ("python -m torch.distributed.run --no-such-flag train.py", "torchrun does not understand"),
    ],
)
def test_what_is_no_script_is_refused(understand, words, sentence):
    with pytest.raises(UsageError, match=sentence):
        understand(*words.split())
