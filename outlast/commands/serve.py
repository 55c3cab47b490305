"""`outlast serve`: start the server. Options given here win over the environment, that over outlast.toml."""

import os

import click

from outlast import config
from outlast.commands import exits
from outlast.commands.streams import have_standard_streams
from outlast.errors import ConfigError, OutlastError


class _Unshown(click.Argument):
    """An argument that is understood but not advertised."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        return []


def _refuse_db(_ctx: click.Context, _param: click.Parameter, path: str | None) -> None:
    if path is not None:
        raise click.UsageError(
            "Outlast keeps its runs in a folder, not in one file: name it with --data-dir. "
            "docs/migrate-from-praisonai.md lists what else has another name."
        )


@click.command()
@click.argument("jobs", cls=_Unshown, required=False, type=click.Choice(["jobs"]), expose_value=False)
@click.option("--db", hidden=True, expose_value=False, callback=_refuse_db)
@click.option("--host", metavar="ADDRESS", help="Where to listen. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="NUMBER", help="[default: 8005]")
@click.option("--data-dir", metavar="PATH", help="Where runs are kept. [default: the user's data folder]")
@click.option(
    "--agent-root", metavar="PATH", help="Where agent files are found. [default: the working directory]"
)
@click.option("--model", metavar="NAME", help="The model that runs ask for.")
@click.option("--public-url", metavar="URL", help="The address clients know this server by.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Isolated agents at once. [default: 10]",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[default: text]")
@click.option(
    "--no-worker",
    is_flag=True,
    help="Only the API: leave the runs to `outlast worker`. Needs OUTLAST_DATABASE_URL.",
)
def command(*, no_worker: bool, **overrides: str | int | None) -> int:
    """Start the server: the API, and beside it a worker with its model gateway.

    Every other setting is an environment variable or a key in outlast.toml; docs/settings.md lists them.
    """
    have_standard_streams()
    try:
        settings = config.load(os.environ, **overrides)
        from outlast.app import serve  # takes a second; a wrong option or setting is said before that

        return exits.OK if serve(settings, works=not no_worker) == 0 else exits.FAILED
    except SystemExit:  # uvicorn's way of ending after a start that failed, which it has logged
        return exits.FAILED
    except OutlastError as error:
        exits.say(error.detail)
        return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED
