"""`outlast doctor`: what is wrong with a store, and what to do."""

import asyncio
import os
from typing import TYPE_CHECKING

import click
import msgspec

from outlast import config
from outlast.commands import exits
from outlast.commands.options import of_store
from outlast.errors import ConfigError, OutlastError

if TYPE_CHECKING:
    from outlast.doctor import Finding

_COLORS = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command()
@of_store
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON, and nothing else.")
def command(*, data_dir: str | None, as_json: bool) -> int:
    """Examine a store without changing it, also while servers use it: the PostgreSQL of OUTLAST_DATABASE_URL, or the
    data folder. Exit code 1 if something is wrong.
    """
    try:
        settings = config.of_store(os.environ, data_dir)
        return asyncio.run(_examine(settings, as_json=as_json))
    except OutlastError as error:
        exits.say(error.detail)
        return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED


async def _examine(settings: config.Settings, *, as_json: bool) -> int:
    from outlast.clock import SystemClock
    from outlast.doctor import Level, examine

    found = await examine(settings, SystemClock())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for finding in found:
            _print(finding)
    return exits.FAILED if any(finding.level is Level.WRONG for finding in found) else exits.OK


def _print(finding: "Finding") -> None:
    level = click.style(f"{finding.level.value:<6}", fg=_COLORS[finding.level.value])
    click.echo(f"{level}{finding.about:<12}{finding.says}")
    if finding.remedy:
        click.echo(f"{'':18}{finding.remedy}")
