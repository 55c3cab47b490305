"""`outlast cancel`: end a run."""

import click

from outlast.client import Client
from outlast.commands import exits, options, show


@click.command()
@options.run_id
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, as_json: bool) -> int:
    """End a run. It is cancelled at once; its agent is stopped within two seconds."""
    cancelled = client.cancel(run_id)
    if as_json:
        show.document(cancelled.body)
    else:
        click.echo(f"Run {run_id} is {cancelled.status}.")
    return exits.OK
