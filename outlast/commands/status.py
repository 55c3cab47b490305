"""`outlast status`: where a run is."""

import click

from outlast.client import Client
from outlast.commands import exits, options, show


@click.command()
@options.run_id
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, as_json: bool) -> int:
    """Where a run is: its status, progress and times."""
    run = client.get(run_id)
    if as_json:
        show.document(run.body)
    else:
        show.run(run)
    return exits.OK
