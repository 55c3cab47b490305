"""`outlast migrate`: bring the schema of a store up to date, or say whether it is."""

import asyncio
import os

import click

from outlast import config
from outlast.commands import exits
from outlast.commands.options import of_store
from outlast.errors import ConfigError, OutlastError


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if something is to be done.")
@of_store
def command(*, check: bool, data_dir: str | None) -> int:
    """Bring the store's schema up to date: the PostgreSQL of OUTLAST_DATABASE_URL, or the data folder.

    On PostgreSQL servers may go on meanwhile; a data folder must have no server.
    """
    try:
        settings = config.of_store(os.environ, data_dir)
        return asyncio.run(_migrate(settings, check=check))
    except OutlastError as error:
        exits.say(error.detail)
        return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED


async def _migrate(settings: config.Settings, *, check: bool) -> int:
    from outlast.clock import SystemClock
    from outlast.store.choose import schema_of

    schema = schema_of(settings, SystemClock())
    lag = await (schema.lag() if check else schema.migrate())
    if not lag.missing:
        click.echo(f"{schema.place}: schema {lag.version} is up to date.")
        return exits.OK
    names = ", ".join(migration.name for migration in lag.missing)
    before = lag.version or "none"
    if check:
        click.echo(f"{schema.place}: schema {before}, to be brought to {lag.newest}: {names}.")
        return exits.FAILED
    click.echo(f"{schema.place}: schema brought from {before} to {lag.newest}: {names}.")
    return exits.OK
