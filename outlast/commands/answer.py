"""`outlast answer`: say what is to become of a step of which nobody knows whether it was done."""

import click
import msgspec

from outlast.client import Client
from outlast.client.calls import Action
from outlast.commands import exits, options, show


def _json(_ctx: click.Context, _param: click.Parameter, text: str | None) -> msgspec.Raw | None:
    if text is None:
        return None
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"It is not JSON: {error}. A text needs its quotes: '\"done\"'.") from error
    return msgspec.Raw(text.encode())


@click.command()
@options.run_id
@click.argument("step", metavar="STEP")
@click.option("--retry", is_flag=True, help="It was not done: do it again.")
@click.option("--skip", metavar="JSON", callback=_json, help="Go on with this result.")
@click.option("--fail", metavar="TEXT", help="Go on as if it had failed with these words.")
@options.as_json
@options.talks_to_server
def command(
    client: Client,
    /,
    *,
    run_id: str,
    step: str,
    retry: bool,
    skip: msgspec.Raw | None,
    fail: str | None,
    as_json: bool,
) -> int:
    """Say what is to become of STEP, which was in flight when its attempt died; the run goes on then."""
    if retry + (skip is not None) + (fail is not None) != 1:
        raise click.UsageError("Say one thing: --retry, --skip JSON or --fail TEXT.")
    action: Action = "retry" if retry else "skip" if skip is not None else "fail"
    run = client.answer_step(run_id, step, action, result=skip, error=fail)
    if as_json:
        show.document(run.body)
    else:
        click.echo(f"Run {run_id} goes on; it is {run.status}.")
    return exits.OK
