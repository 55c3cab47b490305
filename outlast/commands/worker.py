"""`outlast worker`: carry out runs, without an API. Options win over the environment, that over outlast.toml."""

import os

import click

from outlast import config
from outlast.commands import exits
from outlast.commands.streams import have_standard_streams
from outlast.errors import ConfigError, OutlastError


@click.command()
@click.option("--name", "worker_name", metavar="NAME", help="What people call it. [default: the host's name]")
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="A queue to serve; may be given again. [default: all of them]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Isolated agents at once. [default: 10]",
)
@click.option(
    "--shared-concurrency",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Agents at once in shared hosts. [default: 1000]",
)
@click.option(
    "--agent-root", metavar="PATH", help="Where agent files are found. [default: the working directory]"
)
@click.option("--data-dir", metavar="PATH", help="Where it locks its seat. [default: the user's data folder]")
@click.option("--model", metavar="NAME", help="The model that runs ask for.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[default: text]")
def command(queues: tuple[str, ...], **overrides: str | int | None) -> int:
    """Carry out runs from the PostgreSQL that OUTLAST_DATABASE_URL names, until told to stop.

    SIGTERM drains: it claims no more, lets runs finish for OUTLAST_GRACE_S, hands the rest back, and exits with 0.
    """
    have_standard_streams()
    try:
        settings = config.load(os.environ, queues=queues or None, **overrides)
        from outlast.app import work  # takes a second; a wrong option or setting is said before that

        return exits.OK if work(settings) == 0 else exits.FAILED
    except OutlastError as error:
        exits.say(error.detail)
        return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED
