"""The README says what the program does: every command, every field, and the commands that CI runs."""

import re
from pathlib import Path

import click
import pytest

from planner.cli.main import COMMANDS, cli
from profiler.spec import TrialSpec
from profiler.sweep.file import TRIAL_FIELDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def every_command():
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, inner), sub) for inner, sub in command.commands.items())


PATHS = dict(every_command())


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_with_an_example(sizeup, path):
    code, out, err = sizeup(*path, "--help")
    assert (code, err) == (0, "")
    examples = re.findall(
        rf"^  +sizeup {' '.join(path)}\b.*$", out.partition("Example")[2], flags=re.MULTILINE
    )
    assert examples
    for parameter in PATHS[path].params:
        assert isinstance(parameter, click.Argument) or parameter.help


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_is_used_in_the_readme(path):
    assert re.search(rf"^sizeup {' '.join(path)}\b", README, flags=re.MULTILINE)


def shell_lines():
    for block in re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if line.startswith("sizeup "))


@pytest.mark.parametrize("line", list(shell_lines()))
def test_the_readme_uses_only_options_there_are(line):
    words = line.partition(" -- ")[0].split()[1:]  # after it is another program's command
    path = tuple(words[:2]) if tuple(words[:2]) in PATHS else (words[0],)
    known = {
        flag for parameter in PATHS[path].params for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= known


def test_the_table_of_fields_is_that_of_the_program():
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*) \|$", README.partition("## The fields of a trial")[2], re.M
    )
    described = {name: (default.strip("` "), text) for name, default, text in rows if name in TRIAL_FIELDS}
    assert list(described) == list(TRIAL_FIELDS)
    for name, (default, text) in described.items():
        field = TrialSpec.model_fields[name]
        assert text.startswith(field.description), name
        if name not in ("model", "task", "method_options"):
            shown = "none" if field.default is None else str(field.default)
            assert default == (shown.lower() if isinstance(field.default, bool) else shown), name


@pytest.mark.parametrize("name", ["run", "test"])
def test_ci_runs_the_commands_of_the_readme(name):
    assert len(re.findall(rf"^<!-- ci: {name} -->\n```sh\n[^\n]+\n```$", README, flags=re.MULTILINE)) == 1
    assert f"command_of {name}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
