"""`outlast stream`: a run's events as they happen."""

import click

from outlast.client import Client
from outlast.commands import events, options


@click.command()
@options.run_id
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="ID",
    help="Only events after the one of this number.",
)
@click.option(
    "--tokens/--no-tokens", default=None, help="The model's text as it is made. [default: on a terminal]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print each event as one line of JSON, and nothing else."
)
@options.talks_to_server
def command(client: Client, /, *, run_id: str, after: int, tokens: bool | None, as_json: bool) -> int:
    """A run's events from its beginning, and as they happen, until it has ended. Goes on through broken connections."""
    client.get(run_id)  # whether server and run are there is known at once, without the stream's patience
    return events.follow(client, run_id, after=after, as_json=as_json, tokens=tokens)
