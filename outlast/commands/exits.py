"""The exit codes, which scripts depend on (docs/cli.md), and how an error is said."""

import click

OK = 0
FAILED = 1
"""The run failed or was cancelled; for other commands: what was to be done did not work."""
USAGE = 2
"""The command line, the environment or outlast.toml is wrong."""
REFUSED = 3
"""The server refused the request (4xx)."""
UNREACHABLE = 4
"""No server answered, or it failed (5xx)."""
TIMED_OUT = 124
"""The time to wait was up; the run goes on."""
INTERRUPTED = 130
"""Ctrl-C; a run that was waited for goes on."""


def say(words: str) -> None:
    """A sentence about an error, on stderr."""
    click.echo(f"{click.style('outlast:', fg='red')} {words}", err=True)
