"""`outlast version`: which Outlast this is."""

import platform

import click

from outlast import __version__


@click.command()
def command() -> int:
    """Which Outlast this is, and on which Python."""
    click.echo(f"outlast {__version__} (Python {platform.python_version()}, {platform.system()})")
    return 0
