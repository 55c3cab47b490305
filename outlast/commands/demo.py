"""`outlast demo`: a real model answers a submitted run, on a server that is gone afterwards."""

import os
import shlex

import click
import msgspec

from outlast import config
from outlast.client import Client, ClientError
from outlast.client.connection import DEFAULT_URL
from outlast.commands import events, exits, model, refusals
from outlast.commands.scratch import ScratchServer
from outlast.config import DEFAULT_MODEL, Settings
from outlast.errors import ConfigError, NoModelConfigured, OutlastError
from outlast.localmodel import DEMO_ALIAS, DEMO_LABEL, available, installed
from outlast.localmodel.weights import engine_found

_WAYS_TO_A_MODEL = """\
Give it one of these and try again:
  export OPENAI_API_KEY=sk-...
  export OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OUTLAST_MODEL=llama3.2
  pip install 'outlast[local]' && outlast model pull demo"""


@click.command()
@click.argument("prompt", default="What is 2+2?")
def command(prompt: str) -> int:
    """Watch a real model answer a run: starts a server, submits PROMPT, streams the answer, stops the server.

    The model is the one of OPENAI_API_KEY, OPENAI_BASE_URL and OUTLAST_MODEL; without them a small local one, which is
    fetched if it is not there. Exit code 0 means that a model answered.
    """
    try:
        settings = _without_aliases(config.load(os.environ))
        answerer = _model(settings)
        with ScratchServer(settings) as server, Client(server.url, api_key=server.api_key) as client:
            click.echo(f"A server is up at {server.url}; its runs are in {server.root} until this ends.")
            return _run(client, prompt, answerer)
    except OutlastError as error:
        exits.say(f"{error.detail} ({error.code})")
        return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED
    except ClientError as error:
        refusals.report(error)
        return exits.FAILED


def _without_aliases(settings: Settings) -> Settings:
    """The server that is started has no outlast.toml: what the default alias means has to be said in variables."""
    alias = settings.models.get(settings.default_model or "")
    if alias is None:
        return settings
    upstream = settings.upstreams[alias.upstream]
    return msgspec.structs.replace(
        settings,
        openai_api_key=upstream.key,
        openai_base_url=upstream.address,
        model=alias.model or settings.default_model,
    )


def _model(settings: Settings) -> str:
    """Which model will answer; fetches the local one if there is no other."""
    if settings.openai_api_key or settings.openai_base_url or settings.model not in (None, DEMO_ALIAS):
        return f"{settings.model or DEFAULT_MODEL} at {settings.openai_base_url or 'api.openai.com'}"
    click.echo(
        f"There is no OPENAI_API_KEY and no OPENAI_BASE_URL, so a small local model answers: {DEMO_LABEL}."
    )
    try:
        if not engine_found():
            raise NoModelConfigured("The local model's engine is not installed.")
        if installed() is None:
            click.echo("Fetching its weights, 93 MB, once.")
            model.fetch()
    except OutlastError as error:
        raise NoModelConfigured(f"{error.detail}\n{_WAYS_TO_A_MODEL}\nNo model is configured.") from error
    assert available()
    return "the local demo model"


def _run(client: Client, prompt: str, answerer: str) -> int:
    accepted = client.submit(prompt)
    click.echo(f"Submitted {prompt!r}; it is run {accepted.job_id}.\n")
    code = events.follow(client, accepted.job_id, as_json=False, tokens=True)
    if code != exits.OK:
        return exits.FAILED if code != exits.INTERRUPTED else code
    click.echo(f"\nThat was {answerer}. Now yourself:\n\n{_lines_to_paste(prompt)}")
    return exits.OK


def _lines_to_paste(prompt: str) -> str:
    body = shlex.quote(msgspec.json.encode({"prompt": prompt}).decode())
    return (
        "  outlast serve\n\n"
        f"  curl -X POST {DEFAULT_URL}/api/v1/runs -H 'Content-Type: application/json' -d {body}\n"
        f"  curl '{DEFAULT_URL}/api/v1/runs/RUN_ID?wait=30'\n"
        f"  curl {DEFAULT_URL}/api/v1/runs/RUN_ID/result"
    )
