"""The command line: which commands there are, and how the program ends.

A command's module is imported when the command is used, so that `outlast status` does not wait for the server's code
to load. Commands return their exit code; docs/cli.md says what each code means.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from outlast import __version__
from outlast.commands.exits import INTERRUPTED

_OF_RUNS = {
    "submit": "Hand in a run.",
    "status": "Where a run is.",
    "result": "What a run returned.",
    "stream": "A run's events as they happen.",
    "list": "The runs, newest first.",
    "cancel": "End a run.",
    "budget": "Change what a run may use.",
    "retry": "Ask for a finished run again.",
    "calls": "The model calls of a run.",
    "steps": "The steps of a run.",
    "answer": "Decide over a step that a run waits for.",
    "delete": "Remove a finished run and all that belongs to it.",
}
_OTHERS = {
    "exec": "Run a program of your own so that it outlasts crashes.",
    "schedules": "Runs that come again and again.",
    "serve": "Start the server.",
    "worker": "Carry out runs, without an API.",
    "workers": "Who carries out runs, and which.",
    "migrate": "Bring the store's schema up to date.",
    "doctor": "Whether a store is sound, and what to do if not.",
    "demo": "Watch a real model answer a run, on this machine.",
    "model": "The small local model.",
    "version": "Which Outlast this is.",
}


class LazyGroup(click.Group):
    """Imports `outlast.commands.NAME` for the command NAME, and only then."""

    def __init__(self, name: str, summaries: Mapping[str, str], help: str) -> None:
        super().__init__(name, help=help)
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "run" and cmd_name in self._summaries:
            return runs_group
        if cmd_name not in self._summaries:
            return None
        command: click.Command = import_module(f"outlast.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))


runs_group = LazyGroup("run", _OF_RUNS, "The commands for runs, under the name PraisonAI gives them.")

cli = LazyGroup(
    "outlast",
    _OF_RUNS
    | _OTHERS
    | {"run": "The commands for runs once more: `outlast run submit` is `outlast submit`."},
    "Agent runs that outlast crashes: submit over HTTP, come back for the result.",
)
cli.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        help="Print the version.",
        callback=lambda ctx, _option, asked: _print_version(ctx, asked=asked),
    )
)


def _print_version(ctx: click.Context, *, asked: bool) -> None:
    if asked:
        click.echo(f"outlast {__version__}")
        ctx.exit()


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    try:
        code = cli.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    sys.exit(code)
