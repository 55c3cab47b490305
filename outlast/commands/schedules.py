"""`outlast schedules`: runs that come again and again."""

from typing import Literal

import click
import msgspec

from outlast.client import Client, Schedule
from outlast.commands import exits, options, show

JsonObject = dict[str, object]
NAME_MAX = 60


@click.group()
def command() -> None:
    """Runs that come again and again."""


@command.command("list")
@click.option("--page", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@options.as_json
@options.talks_to_server
def list_command(client: Client, /, *, page: int, page_size: int, as_json: bool) -> int:
    """The schedules, newest first."""
    shown = client.list_schedules(page=page, page_size=page_size)
    if as_json:
        show.document(shown.body)
    else:
        rows = [_row(one) for one in shown.schedules]
        show.columns(("SCHEDULE", "NEXT", "CRON", "NAME"), rows)
        click.echo(f"{len(shown.schedules)} of {shown.total} schedules.", err=True)
    return exits.OK


def _row(schedule: Schedule) -> tuple[str, ...]:
    cron = f"{schedule.cron} {schedule.timezone}"
    return schedule.schedule_id, _next(schedule), cron, show.plain(schedule.name)


def _next(schedule: Schedule) -> str:
    return "paused" if schedule.paused else show.moment(schedule.next_fire_at)


def _run_object(_ctx: click.Context, _param: click.Parameter, text: str | None) -> JsonObject | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=JsonObject)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"It is not a JSON object: {error}.") from error


@command.command("create")
@click.argument("cron")
@click.argument("prompt", required=False)
@click.option("--name", help="What people call it. [default: the prompt's beginning]")
@click.option("--timezone", default="UTC", metavar="ZONE", show_default=True, help="Whose clock CRON means.")
@click.option(
    "--missed",
    type=click.Choice(["skip", "run_once"]),
    default="skip",
    show_default=True,
    help="What becomes of fires for which no server was there.",
)
@click.option("--paused", is_flag=True, help="Let it not fire until it is resumed.")
@click.option("--agent", metavar="NAME", help="An agent that the server's operator has named.")
@click.option("--agent-file", metavar="PATH", help="An agents.yaml on the server, below its agent root.")
@click.option("--framework", metavar="NAME", help="The framework to run it with.")
@click.option("--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="Time of execution.")
@click.option("--session-id", metavar="ID", help="Groups runs that belong together.")
@click.option("--webhook-url", metavar="URL", help="Called when a run has ended.")
@click.option("--queue", metavar="NAME", help="Only workers that serve this queue take its runs.")
@click.option("--run", metavar="JSON", callback=_run_object, help="All of a submit's body, instead of these.")
@options.as_json
@options.talks_to_server
def create_command(
    client: Client,
    /,
    *,
    cron: str,
    prompt: str | None,
    name: str | None,
    timezone: str,
    missed: Literal["skip", "run_once"],
    paused: bool,
    run: JsonObject | None,
    as_json: bool,
    **of_run: str | int | None,
) -> int:
    """Make a schedule and print its id. CRON is five fields in one argument: "30 7 * * MON-FRI"."""
    said = {field: value for field, value in of_run.items() if value is not None}
    if (prompt is None) == (run is None) or (run is not None and said):
        raise click.UsageError("Say what to run once: PROMPT with its options, or all of it with --run.")
    body = run if run is not None else {"prompt": prompt, **said}
    schedule = client.create_schedule(
        name or str(body.get("prompt", ""))[:NAME_MAX],
        cron,
        body,
        timezone=timezone,
        missed=missed,
        paused=paused,
    )
    if as_json:
        show.document(schedule.body)
    else:
        click.echo(schedule.schedule_id)
        click.echo(_words(schedule), err=True)
    return exits.OK


@command.command("show")
@options.schedule_id
@options.as_json
@options.talks_to_server
def show_command(client: Client, /, *, schedule_id: str, as_json: bool) -> int:
    """What a schedule does, and what became of its last fire."""
    return _tell(client.get_schedule(schedule_id), as_json=as_json)


@command.command("pause")
@options.schedule_id
@options.as_json
@options.talks_to_server
def pause_command(client: Client, /, *, schedule_id: str, as_json: bool) -> int:
    """Let a schedule fire no more until it is resumed."""
    return _tell(client.pause_schedule(schedule_id), as_json=as_json)


@command.command("resume")
@options.schedule_id
@options.as_json
@options.talks_to_server
def resume_command(client: Client, /, *, schedule_id: str, as_json: bool) -> int:
    """Let a schedule fire again, next as seen from now."""
    return _tell(client.resume_schedule(schedule_id), as_json=as_json)


@command.command("trigger")
@options.schedule_id
@options.as_json
@options.talks_to_server
def trigger_command(client: Client, /, *, schedule_id: str, as_json: bool) -> int:
    """Make a schedule's run now and print the run's id."""
    accepted = client.trigger_schedule(schedule_id)
    if as_json:
        show.document(accepted.body)
    else:
        click.echo(accepted.job_id)
        click.echo(f"Follow it with `outlast stream {accepted.job_id}`.", err=True)
    return exits.OK


@command.command("delete")
@options.schedule_id
@options.talks_to_server
def delete_command(client: Client, /, *, schedule_id: str) -> int:
    """Forget a schedule; the runs it has made stay."""
    client.delete_schedule(schedule_id)
    click.echo(f"Schedule {schedule_id} is deleted.")
    return exits.OK


def _tell(schedule: Schedule, *, as_json: bool) -> int:
    if as_json:
        show.document(schedule.body)
        return exits.OK
    show.pairs(
        [
            ("Schedule", schedule.schedule_id),
            ("Name", show.plain(schedule.name)),
            ("Cron", f"{schedule.cron} {schedule.timezone}"),
            ("Next", _next(schedule)),
            ("Last", show.moment(schedule.last_fire_at)),
            ("Last run", schedule.last_run_id or ""),
            ("Error", show.plain(schedule.last_error or "")),
            ("Prompt", show.plain(str(schedule.run.get("prompt", "")))),
        ]
    )
    return exits.OK


def _words(schedule: Schedule) -> str:
    if schedule.paused:
        return f"It is paused; `outlast schedules resume {schedule.schedule_id}` lets it fire."
    return f"It fires next at {show.moment(schedule.next_fire_at)}."
