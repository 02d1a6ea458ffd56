import os
import subprocess
import sys

import click
import pytest

from planner.cli import main
from profiler.errors import NotPossibleError, StoreError, UsageError

HEAVY = ("torch", "transformers", "pydantic", "sqlalchemy", "rich", "pandas", "numpy", "planner.cli.commands")


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom planner.cli.main import run\n"
        f"run({arguments!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_distribution(sizeup, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"sizeup": "1.2.3"}[name])
    assert sizeup("--version") == (0, "sizeup 1.2.3\n", "")


def test_help_lists_every_command(sizeup):
    code, out, _ = sizeup("--help")
    assert code == 0
    for name, command in main.COMMANDS.items():
        assert f"  {name}" in out
        assert command.help in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resluts"], "unknown command 'resluts'; did you mean results?"),
        (["xyz"], "unknown command 'xyz'; known: cache, doctor, "),
        (["gpus", "--vendro", "AMD"], "--vendro"),
        (["gpus", "--vendor", "Intell"], "Invalid value for '--vendor'"),
        (["models", "a", "b"], "unexpected extra argument"),
        (["store", "inof"], "No such command 'inof'"),
        (["--nope"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(refusal, arguments, sentence):
    code, said = refusal(*arguments)
    assert code == 2
    assert sentence in said


@pytest.fixture
def command_that(monkeypatch):
    """Call this with a function to make it the command `probe`."""

    def install(function):
        probe = click.Command("probe", callback=function)
        monkeypatch.setitem(main.COMMANDS, "probe", main.LazyCommand(target="probe:probe", help="A probe."))
        monkeypatch.setattr(main.importlib, "import_module", lambda _: type("M", (), {"probe": probe}))

    return install


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UsageError("no such thing"), 2, "Error: no such thing\n"),
        (StoreError("no store"), 1, "Error: no store\n"),
        (NotPossibleError("no way"), 1, "Error: no way\n"),
        (OSError(28, "No space left on device", "out.csv"), 1, "Error: out.csv: No space left on device\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_errors_end_in_their_exit_code(sizeup, command_that, error, code, sentence):
    command_that(raising(error))
    assert sizeup("probe") == (code, "", sentence)


def test_a_command_chooses_its_exit_code(sizeup, command_that):
    command_that(lambda: click.get_current_context().exit(3))
    assert sizeup("probe") == (3, "", "")


def test_what_a_command_returns_is_no_exit_code(sizeup, command_that):
    command_that(lambda: None)
    assert sizeup("probe") == (0, "", "")


def test_a_bug_is_not_hidden(sizeup, command_that):
    command_that(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        sizeup("probe")


def test_a_reader_that_leaves_is_no_error():
    # Often enough that the pipe cannot hold it all.
    program = (
        "import sys\nfrom planner.cli.main import run\n"
        "sys.exit(max(run(['gpus', '--format', 'json']) for _ in range(30)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_output_that_the_terminal_cannot_encode_is_no_error():
    program = "from planner.cli.main import main; main(['gpus', 'p100'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Tesla P100-SXM2-16GB" in done.stdout
