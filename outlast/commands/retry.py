"""`outlast retry`: ask for a finished run again."""

import click

from outlast.client import Client
from outlast.commands import exits, options, show


@click.command()
@options.run_id
@click.option("--fresh", is_flag=True, help="Ask the model everything again.")
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, fresh: bool, as_json: bool) -> int:
    """Ask for a finished run again, as a new run. Prints its id.

    What the model has answered the old one is not paid again, unless --fresh says so.
    """
    accepted = client.retry(run_id, fresh=fresh)
    if as_json:
        show.document(accepted.body)
    else:
        click.echo(accepted.job_id)
        words = f"Run {accepted.job_id} asks for {run_id} again."
        click.echo(f"{words} Follow it with `outlast stream {accepted.job_id}`.", err=True)
    return exits.OK
