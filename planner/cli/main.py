"""`sizeup`: the table of commands, and the one place where errors become sentences and exit codes.

Nothing heavy is imported here, so that `sizeup --help` answers at once; a command's module is imported when
the command is used.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from profiler.errors import SizeupError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class LazyCommand:
    """A command that is not imported yet."""

    target: str
    """`module:attribute` of the click command."""
    help: str
    """Its line in `sizeup --help`."""


COMMANDS: dict[str, LazyCommand] = {
    "doctor": LazyCommand(
        target="planner.cli.commands.doctor:doctor", help="Say what this machine can measure, and with what."
    ),
    "fit": LazyCommand(
        target="planner.cli.commands.fit:fit", help="Say whether a fine-tune fits on a GPU, without the GPU."
    ),
    "run": LazyCommand(
        target="planner.cli.commands.run:run", help="Run your own script on a virtual GPU: does it fit?"
    ),
    "measure": LazyCommand(
        target="planner.cli.commands.measure:measure", help="Measure one trial on this machine."
    ),
    "sweep": LazyCommand(
        target="planner.cli.commands.sweep:sweep", help="Measure every trial that a sweep file stands for."
    ),
    "results": LazyCommand(target="planner.cli.commands.results:results", help="Show what was measured."),
    "learn": LazyCommand(
        target="planner.cli.commands.learn:learn",
        help="Learn predictors of memory and time from what was measured.",
    ),
    "predict": LazyCommand(
        target="planner.cli.commands.predict:predict",
        help="Predict memory and time of trials that nobody has run.",
    ),
    "suggest": LazyCommand(
        target="planner.cli.commands.suggest:suggest", help="Say which trial to run next, and when to stop."
    ),
    "import": LazyCommand(
        target="planner.cli.commands.import_results:import_results",
        help="Take results of others into the store.",
    ),
    "hollow": LazyCommand(
        target="planner.cli.commands.hollow:hollow", help="Write a checkpoint that loads and has no weights."
    ),
    "models": LazyCommand(
        target="planner.cli.commands.models:models", help="List the models that can be named offline."
    ),
    "gpus": LazyCommand(target="planner.cli.commands.gpus:gpus", help="List the GPUs of the catalogue."),
    "store": LazyCommand(
        target="planner.cli.commands.store:store", help="Look into, merge and clean up the store of results."
    ),
    "cache": LazyCommand(
        target="planner.cli.commands.cache:cache", help="Look into and empty the cache of traces and answers."
    ),
}


class LazyGroup(click.Group):
    """A group whose help needs no command's module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].target.split(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name].target} is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or raise the `UsageError` that names the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:\n  sizeup measure smollm2-135m --method lora --method-option r=16",
)
@click.version_option(package_name="sizeup", message="%(prog)s %(version)s")
def cli() -> None:
    """Size up a fine-tune before you run it: measure its memory and speed, or predict them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the entry point of the `sizeup` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to fail
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one sentence on stderr."""
    try:
        code = cli.main(arguments, prog_name="sizeup", standalone_mode=False)
        sys.stdout.flush()
    except SizeupError as error:
        return _fail(str(error), error.exit_code)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except click.Abort as error:
        # click turns both Ctrl-C and the end of input at a question into Abort.
        if isinstance(error.__cause__ or error.__context__, EOFError):
            return _fail("there was nobody to answer the question; nothing was done", 1)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            return _reader_left()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return code if isinstance(code, int) else 0


def _fail(sentence: str, code: int) -> int:
    click.echo(f"Error: {sentence}", err=True)
    return code


def _reader_left() -> int:
    """End quietly when whoever read our output, such as `head`, has had enough."""
    # Python flushes stdout once more as it exits, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
