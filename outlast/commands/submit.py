"""`outlast submit`: hand in a run, and wait for it or follow it if asked to."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec

from outlast.client import Accepted, Client
from outlast.commands import ending, events, exits, options, show

JsonObject = dict[str, object]


def _json_object(_ctx: click.Context, param: click.Parameter, text: str | None) -> JsonObject | None:
    return None if text is None else _object(text, f"{param.opts[-1]} is not a JSON object")


def _pairs(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> JsonObject | None:
    """KEY=VALUE keeps the value as text; anything else has to be a JSON object."""
    metadata: JsonObject = {}
    for text in values:
        key, equals, value = text.partition("=")
        if equals and not text.lstrip().startswith("{"):
            metadata[key] = value
        else:
            metadata |= _object(text, f"{text!r} is neither KEY=VALUE nor a JSON object")
    return metadata or None


def _object(text: str, complaint: str) -> JsonObject:
    try:
        return msgspec.json.decode(text, type=JsonObject)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{complaint}: {error}.") from error


def _file_text(_ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}.") from error


@click.command()
@click.argument("prompt", required=False)
@click.option("--prompt", "named_prompt", help="The prompt, instead of as an argument.")
@click.option("--agent", metavar="NAME", help="An agent that the server's operator has named.")
@click.option("--agent-file", metavar="PATH", help="An agents.yaml on the server, below its agent root.")
@click.option(
    "--agent-yaml", metavar="PATH", callback=_file_text, help="An agents.yaml here; its text is sent along."
)
@click.option("--recipe", metavar="NAME", help="A recipe; not together with --agent-file.")
@click.option(
    "--recipe-config", metavar="JSON", callback=_json_object, help="The recipe's settings, a JSON object."
)
@click.option(
    "--config", metavar="JSON", callback=_json_object, help="Settings for the runner, a JSON object."
)
@click.option("--framework", metavar="NAME", help="The framework to run it with. [default: praisonai]")
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Time of execution. [default: the server's]",
)
@click.option(
    "--delay", type=click.FloatRange(min=0), metavar="SECONDS", help="Start it not before so long from now."
)
@click.option("--run-at", metavar="TIME", help="Start it not before this time: 2026-12-24T18:00:00+01:00.")
@click.option("--queue", metavar="NAME", help="Only workers that serve this queue take it.")
@click.option("--priority", type=int, metavar="SECONDS", help="A head start in the queue.")
@click.option(
    "--max-cost-usd",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="What its model calls may cost before it waits for more.",
)
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="The same for tokens, sent and received."
)
@click.option("--session-id", metavar="ID", help="Groups runs that belong together.")
@click.option("--webhook-url", metavar="URL", help="Called when the run has ended.")
@click.option(
    "--idempotency-key", metavar="KEY", help="A second submit with this key finds the first one's run."
)
@click.option(
    "--idempotency-scope",
    type=click.Choice(["none", "session", "global"]),
    help="Where the key is unique; none ignores it. [default: global]",
)
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_pairs,
    help="Kept with the run; repeatable, or a JSON object.",
)
@click.option("--wait", is_flag=True, help="Wait for the run to end and print its result.")
@options.wait_timeout
@click.option("--stream", is_flag=True, help="Print the run's events until it has ended.")
@click.option(
    "--tokens/--no-tokens",
    default=None,
    help="With --stream: the model's text as it is made. [default: on a terminal]",
)
@options.as_json
@options.talks_to_server
def command(
    client: Client,
    /,
    *,
    prompt: str | None,
    named_prompt: str | None,
    agent: str | None,
    agent_file: str | None,
    agent_yaml: str | None,
    recipe: str | None,
    recipe_config: JsonObject | None,
    config: JsonObject | None,
    framework: str | None,
    timeout: int | None,
    delay: float | None,
    run_at: str | None,
    queue: str | None,
    priority: int | None,
    max_cost_usd: float | None,
    max_tokens: int | None,
    session_id: str | None,
    webhook_url: str | None,
    idempotency_key: str | None,
    idempotency_scope: Literal["none", "session", "global"] | None,
    metadata: JsonObject | None,
    wait: bool,
    wait_timeout: float | None,
    stream: bool,
    tokens: bool | None,
    as_json: bool,
) -> int:
    """Hand in a run. Prints its id; with --wait its result, with --stream its events.

    PROMPT is the task; `-` reads it from stdin.
    """
    if recipe and agent_file:
        raise click.UsageError("--recipe and --agent-file exclude each other.")
    accepted = client.submit(
        _prompt(prompt, named_prompt),
        agent=agent,
        agent_file=agent_file,
        agent_yaml=agent_yaml,
        recipe_name=recipe,
        recipe_config=recipe_config,
        config=config,
        framework=framework,
        timeout=timeout,
        delay=delay,
        run_at=run_at,
        queue=queue,
        priority=priority,
        max_cost_usd=max_cost_usd,
        max_tokens=max_tokens,
        session_id=session_id,
        webhook_url=webhook_url,
        idempotency_key=idempotency_key,
        idempotency_scope=idempotency_scope,
        metadata=metadata,
    )
    if stream:
        _announce(accepted, as_json=as_json)
        return events.follow(client, accepted.job_id, as_json=as_json, tokens=tokens)
    if wait or wait_timeout is not None:
        click.echo(_words(accepted), err=True)
        return ending.wait_and_tell(client, accepted.job_id, wait_timeout, as_json=as_json)
    if as_json:
        show.document(accepted.body)
    else:
        click.echo(accepted.job_id)
        click.echo(f"{_words(accepted)} Follow it with `outlast stream {accepted.job_id}`.", err=True)
    return exits.OK


def _prompt(argument: str | None, named: str | None) -> str:
    if (argument is None) == (named is None):
        raise click.UsageError("Say the prompt once: as an argument, with --prompt, or `-` for stdin.")
    text = argument if argument is not None else named
    assert text is not None
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The prompt on stdin is not UTF-8: {error}.") from error


def _announce(accepted: Accepted, *, as_json: bool) -> None:
    if as_json:
        show.line(accepted.body)
    else:
        click.echo(_words(accepted), err=True)


def _words(accepted: Accepted) -> str:
    if accepted.replayed:
        return f"Run {accepted.job_id} already has this idempotency key; it is {accepted.status}."
    return f"Run {accepted.job_id} is accepted and on the server's disk."
