"""`outlast result`: what a run returned."""

import click

from outlast.client import Client, RunNotSucceeded
from outlast.commands import ending, options, refusals


@click.command()
@options.run_id
@click.option("--wait", is_flag=True, help="Wait for the run to end first.")
@options.wait_timeout
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, wait: bool, wait_timeout: float | None, as_json: bool) -> int:
    """What a run returned: text as it is, anything else as JSON. Exit code 1 if it failed or was cancelled."""
    if wait or wait_timeout is not None:
        return ending.wait_and_tell(client, run_id, wait_timeout, as_json=as_json)
    try:
        return ending.print_result(client, run_id, as_json=as_json)
    except RunNotSucceeded as error:
        run = client.get(run_id)
        return ending.tell(client, run, as_json=as_json) if run.is_final else refusals.report(error)
