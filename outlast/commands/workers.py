"""`outlast workers`: who carries out runs, and which."""

import click

from outlast.client import Client, Worker
from outlast.commands import exits, options, show

HEADING = ("WORKER", "STATE", "HOST", "SHARED", "ISOLATED", "QUEUES", "RUNNERS", "RUNS")
NAMED = 3
"""Runs of a worker that are named; --json has more."""


@click.command()
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, as_json: bool) -> int:
    """The workers that live, and those that were lost within the last day, oldest first."""
    shown = client.workers()
    if as_json:
        show.document(shown.body)
        return exits.OK
    show.columns(HEADING, [_row(worker) for worker in shown.workers])
    live = sum(worker.state == "live" for worker in shown.workers)
    click.echo(f"{live} of {len(shown.workers)} workers take runs.", err=True)
    return exits.OK


def _row(worker: Worker) -> tuple[str, ...]:
    return (
        show.plain(worker.name or worker.worker_id),
        worker.state if worker.lost_at is None else f"lost {show.moment(worker.lost_at)}",
        show.plain(f"{worker.host}:{worker.pid}"),
        f"{worker.shared.taken}/{worker.shared.total}",
        f"{worker.isolated.taken}/{worker.isolated.total}",
        "all" if worker.queues is None else show.plain(",".join(worker.queues)),
        ",".join(worker.runners),
        _runs(worker),
    )


def _runs(worker: Worker) -> str:
    named = worker.job_ids[:NAMED]
    more = worker.running - len(named)
    return " ".join([*named, *([f"and {more} more"] if more > 0 else [])])
