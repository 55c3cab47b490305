"""`outlast calls`: the model calls of a run."""

from collections.abc import Iterator

import click
import msgspec

from outlast.client import Client, ModelCall
from outlast.commands import exits, options, show

PAGE = 1000


@click.command()
@options.run_id
@options.as_json
@options.talks_to_server
def command(client: Client, /, *, run_id: str, as_json: bool) -> int:
    """The model calls of a run: which were paid, which the journal had, and where an attempt left the old way."""
    for call in _all(client, run_id):
        if as_json:
            show.line(msgspec.json.encode(call))
        else:
            click.echo(_words(call))
    return exits.OK


def _all(client: Client, run_id: str) -> Iterator[ModelCall]:
    after: int | None = 0
    while after is not None:
        page = client.calls(run_id, after=after, limit=PAGE)
        yield from page.calls
        after = page.next_after


def _words(call: ModelCall) -> str:
    said = [
        f"{call.seq:>5}",
        f"attempt {call.attempt}",
        f"{call.how:<10}",
        show.plain(call.model or ""),
        show.plain(call.path or ""),
        f"{call.status or ''}",
        f"{call.input_tokens or 0} in, {call.output_tokens or 0} out",
        f"${call.cost_usd:.6f}" if call.cost_usd is not None else "",
        f"{call.ms or 0} ms",
        show.plain(call.error or ""),
        _way(call.diverged),
    ]
    return "  ".join(filter(None, said)).rstrip()


def _way(diverged: dict[str, object] | None) -> str:
    if diverged is None:
        return ""
    at, was, now = (show.plain(str(diverged.get(name, ""))) for name in ("field", "was", "is"))
    return f"not as call {diverged.get('call')}: {at} was {was}, is {now}"
