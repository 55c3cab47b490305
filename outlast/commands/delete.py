"""`outlast delete`: remove a finished run."""

import click

from outlast.client import Client
from outlast.commands import exits, options


@click.command()
@options.run_id
@options.talks_to_server
def command(client: Client, /, *, run_id: str) -> int:
    """Remove a finished run, its events and its result. Its idempotency key may be used anew."""
    client.delete(run_id)
    click.echo(f"Run {run_id} is deleted.")
    return exits.OK
