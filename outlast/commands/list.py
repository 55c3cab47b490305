"""`outlast list`: the runs, newest first."""

from typing import Literal

import click

from outlast.client import Client, Page
from outlast.commands import exits, options, show

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@click.command()
@click.option(
    "--status",
    type=click.Choice(["queued", "running", "succeeded", "failed", "cancelled"]),
    help="Only these.",
)
@click.option("--session-id", metavar="ID", help="Only the runs of this session.")
@click.option("--page", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every run; with --json one a line.")
@options.as_json
@options.talks_to_server
def command(
    client: Client,
    /,
    *,
    status: Status | None,
    session_id: str | None,
    page: int,
    page_size: int,
    everything: bool,
    as_json: bool,
) -> int:
    """The runs, newest first."""
    if everything:
        _list_all(client, status, session_id, as_json=as_json)
        return exits.OK
    shown = client.list_runs(status=status, session_id=session_id, page=page, page_size=page_size)
    if as_json:
        show.document(shown.body)
    else:
        show.table(shown.jobs)
        click.echo(_summary(shown, page, page_size), err=True)
    return exits.OK


def _list_all(client: Client, status: Status | None, session_id: str | None, *, as_json: bool) -> None:
    runs = client.iter_runs(status=status, session_id=session_id)
    if as_json:
        for run in runs:
            show.line(run.body)
    else:
        show.table(list(runs))


def _summary(shown: Page, page: int, page_size: int) -> str:
    least = "at least " if shown.total_is_lower_bound else ""
    more = f"; the next ones: --page {page + 1}" if shown.total > page * page_size else ""
    return f"{len(shown.jobs)} of {least}{shown.total} runs{more}."
