"""What the commands that talk to a server share: its address, their output, how they report errors."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import click

from outlast.client import Client, ClientError
from outlast.commands import refusals
from outlast.commands.interrupts import raised_safely

P = ParamSpec("P")

_RETRY_S = 1.0
"""A person waits for the sentence that nothing answers; a run that is followed gets the client's full patience."""
_URL = "outlast.api_url"


def talks_to_server(command: Callable[Concatenate[Client, P], int]) -> Callable[P, int]:
    """Give the command a client and the option --api-url; turn what goes wrong into words and an exit code."""

    @click.option(
        "--api-url",
        metavar="URL",
        expose_value=False,
        callback=_remember_url,
        help="The server. [default: OUTLAST_URL, else http://127.0.0.1:8005]",
    )
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            url = click.get_current_context().meta[_URL]
            with raised_safely(), Client(url, retry_s=_RETRY_S) as client:
                return command(client, *args, **kwargs)
        except ClientError as error:
            return refusals.report(error)

    return run


def _remember_url(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    ctx.meta[_URL] = value


as_json = click.option("--json", "as_json", is_flag=True, help="Print the server's JSON, and nothing else.")


of_store = click.option(
    "--data-dir",
    metavar="PATH",
    help="A data folder. [default: the PostgreSQL of OUTLAST_DATABASE_URL, else OUTLAST_DATA_DIR]",
)


def _not_blank(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.strip():  # "$ID" of a submit that failed; as a path it would mean all runs
        raise click.BadParameter("It is empty.")
    return value


run_id = click.argument("run_id", metavar="RUN_ID", callback=_not_blank)
schedule_id = click.argument("schedule_id", metavar="SCHEDULE_ID", callback=_not_blank)
wait_timeout = click.option(
    "--wait-timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting after this long, with exit code 124; the run goes on.",
)
