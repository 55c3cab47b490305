"""`outlast steps`: the steps of a run."""

import click

from outlast.client import Client, Step
from outlast.commands import exits, options, show


@click.command()
@options.run_id
@click.option("--page", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--page-size", type=click.IntRange(1, 100), default=100, show_default=True)
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, page: int, page_size: int, as_json: bool) -> int:
    """The steps of a run: what its tools have done, and what is waited for."""
    found = client.steps(run_id, page=page, page_size=page_size)
    if as_json:
        show.document(found.body)
    else:
        show.columns(("STEP", "EFFECT", "STATE", "MS", "INPUT"), [_row(step) for step in found.steps])
        click.echo(f"{len(found.steps)} of {found.total} steps.", err=True)
    return exits.OK


def _row(step: Step) -> tuple[str, ...]:
    ms = "" if step.ms is None else str(step.ms)
    return show.plain(step.step), step.effect, step.state, ms, show.brief(step.input)
