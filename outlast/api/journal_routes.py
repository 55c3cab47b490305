"""A run's model calls, and asking for a finished run again."""

import re

import msgspec

from outlast.api import body, reading
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request
from outlast.api.run_routes import accepted
from outlast.api.submit import header_key
from outlast.clock import iso
from outlast.errors import Draining, InvalidQuery
from outlast.runs import JournalMode
from outlast.store.protocol import ModelCallSeen

MAX_CALLS = 1000
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)


class AgainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a finished run is to be asked again."""

    mode: JournalMode = JournalMode.RESUME


class CallTold(msgspec.Struct, frozen=True, gc=False):
    """What the event of a call tells. Whatever an older gateway did not say is left out."""

    how: str = "live"
    model: str | None = None
    path: str | None = None
    status: int | None = None
    streamed: bool | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: float | None = None
    ms: int | None = None
    tries: int | None = None
    agent_retry: int | None = None
    upstream: str | None = None
    alias: str | None = None
    diverged: dict[str, object] | None = None
    error: str | None = None


class CallView(CallTold, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A model call as a client sees it."""

    seq: int
    attempt: int
    at: str
    how: str


class CallListView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Some of a run's model calls, in order."""

    calls: list[CallView]
    next_after: int | None = None


async def again(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs/{job_id}/retry"""
    raw = await body.read(request, edge.limits)
    if raw:
        body.require_json(request)
    mode = reading.read(raw, AgainBody).mode if raw else JournalMode.RESUME
    fields: dict[str, object] = {"retry_of": request.job_id, "mode": mode.value}
    key = header_key(request.header(b"idempotency-key"), fields)
    if key is not None:
        known = await edge.engine.replay(request.caller, key)
        if known is not None:
            return accepted(edge, request, known, replayed=True)
    if edge.draining.is_set():
        raise Draining("The server is shutting down and takes no new runs; send this again in a moment.")
    submitted = await edge.engine.retry(request.caller, request.job_id, mode, key)
    return accepted(edge, request, submitted.run, replayed=submitted.replayed)


async def calls(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/calls"""
    after, limit = _asked(request.query.get("after"), 0), _asked(request.query.get("limit"), 100)
    if not 1 <= limit <= MAX_CALLS:
        raise InvalidQuery(f"limit is a number from 1 to {MAX_CALLS}.")
    found = await edge.engine.model_calls(request.caller, request.job_id, after, limit + 1)
    shown = [_view(call) for call in found[:limit]]
    more = shown[-1].seq if len(found) > limit else None
    return Reply(200, msgspec.json.encode(CallListView(shown, more)))


def _asked(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise InvalidQuery("after is the seq of the last call that was seen, and limit how many to send.")
    return int(text)


def _view(call: ModelCallSeen) -> CallView:
    told = msgspec.structs.asdict(_told(call.data))
    return CallView(seq=call.seq, attempt=call.attempt, at=iso(call.at), **told)


_told = msgspec.json.Decoder(CallTold).decode
