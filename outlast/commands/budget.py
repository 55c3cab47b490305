"""`outlast budget`: change what a run may use."""

import click

from outlast.client import Client
from outlast.client.calls import Limits
from outlast.client.models import Budget
from outlast.commands import exits, options, show


@click.command()
@options.run_id
@click.option(
    "--max-cost-usd",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="What its model calls may cost in all; 0 is no limit.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=0),
    metavar="N",
    help="The tokens it may send and receive in all; 0 is no limit.",
)
@options.as_json
@options.talks_to_server
def command(
    client: Client, /, *, run_id: str, max_cost_usd: float | None, max_tokens: int | None, as_json: bool
) -> int:
    """Change what a run may use. One that waits for its budget goes on, and pays for nothing twice."""
    limits = Limits()
    if max_cost_usd is not None:
        limits["max_cost_usd"] = max_cost_usd or None
    if max_tokens is not None:
        limits["max_tokens"] = max_tokens or None
    if not limits:
        raise click.UsageError("Say what it may use: --max-cost-usd, --max-tokens, or both.")
    run = client.change_budget(run_id, **limits)
    if as_json:
        show.document(run.body)
    else:
        click.echo(f"Run {run_id} {_words(run.budget or Budget())}; it is {run.status}.")
    return exits.OK


def _words(budget: Budget) -> str:
    limits = [
        *([f"${budget.max_cost_usd:g}"] if budget.max_cost_usd is not None else []),
        *([f"{budget.max_tokens} tokens"] if budget.max_tokens is not None else []),
    ]
    return f"may use {' and '.join(limits)} in all" if limits else "may use what it likes"
