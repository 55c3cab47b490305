"""The OpenAI-compatible server that agents talk to: who asks, what for, and what becomes of it when either side goes.

It must never let a call through for an attempt that no longer holds its run.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

import msgspec
from starlette.types import Message, Receive, Scope, Send

from outlast import telemetry
from outlast.gateway.answer import (
    ATTEMPT_OVER,
    FAILED,
    JSON,
    NO_TOKEN,
    Answer,
    Ask,
    BrokenOff,
    Header,
    Refusal,
)
from outlast.gateway.calls import Calls
from outlast.gateway.grants import Grants, Holder
from outlast.gateway.upstream import Upstreams

MAX_REQUEST = 32 * 1024 * 1024
SERVED = frozenset({"/chat/completions", "/responses", "/embeddings"})

_log = telemetry.get("gateway")


class Endpoint:
    """The ASGI application."""

    def __init__(self, grants: Grants, upstreams: Upstreams, calls: Calls) -> None:
        self._grants = grants
        self._upstreams = upstreams
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send)
        try:
            await self._route(scope, receive, reply)
        except _AgentLeft:
            pass
        except _TooLarge:
            await reply.send(_TOO_LARGE.answer)
        except Exception as error:
            _log.error("gateway failed", exc=error)
            await reply.send(FAILED.answer)

    async def _route(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        attempt_id = self._grants.attempt(_bearer(scope["headers"]))
        if attempt_id is None:
            return await reply.send(NO_TOKEN.answer)
        holder = self._grants.holder(attempt_id)
        if holder is None:
            return await reply.send(ATTEMPT_OVER.answer)
        path = scope["path"].removeprefix("/v1")
        match scope["method"], path:
            case "GET", "/models":
                await reply.send(_models(self._upstreams.aliases))
            case "POST", _ if path in SERVED:
                body = await _body(receive)
                ask = Ask(path, scope["query_string"].decode("latin-1"), tuple(scope["headers"]), body)
                await self._take(holder, ask, receive, reply)
            case method, _:
                await reply.send(_unknown(method, scope["path"]).answer)

    async def _take(self, holder: Holder, ask: Ask, receive: Receive, reply: "_Reply") -> None:
        if holder.is_over:
            return await reply.send(ATTEMPT_OVER.answer)
        call = asyncio.create_task(self._answer(holder, ask, reply))
        leaving = asyncio.create_task(_left(receive))
        holder.calls.add(call)
        try:
            await asyncio.wait((call, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                _abandon(call)
            await asyncio.wait((call,))
        finally:
            holder.calls.discard(call)
            call.cancel()
            leaving.cancel()
        if call.cancelled():
            await reply.send(ATTEMPT_OVER.answer)
        else:
            call.result()

    async def _answer(self, holder: Holder, ask: Ask, reply: "_Reply") -> None:
        try:
            await reply.send(await self._calls.call(holder, ask))
        except BrokenOff as error:
            await reply.send(Refusal(502, "provider_broke_off", str(error)).answer)


def _abandon(call: asyncio.Task[None]) -> None:
    """What becomes of a call whose agent has gone: nobody waits for it, so the provider is told to stop.

    A journal would read it to the end instead when the run goes on, for the next attempt to find.
    """
    call.cancel()


class _Reply:
    """The answer to one request; what is sent after it has begun is not sent, and leaves it broken off."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def send(self, answer: Answer) -> None:
        if self._begun:
            return
        if isinstance(answer.body, bytes):
            await self._begin(answer, (b"content-length", str(len(answer.body)).encode()))
            return await self._send({"type": "http.response.body", "body": answer.body})
        async with aclosing(answer.body) as pieces:
            async for piece in pieces:
                await self._begin(answer)
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._begin(answer)
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, answer: Answer, *more: Header) -> None:
        if not self._begun:
            self._begun = True
            head: Message = {"type": "http.response.start", "status": answer.status}
            await self._send({**head, "headers": [*answer.headers, *more]})


class _AgentLeft(Exception):
    """The agent went away before its request was complete."""


class _TooLarge(Exception):
    """The request is larger than the gateway takes."""


def _bearer(headers: Iterable[Header]) -> str:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1")
    return ""


async def _body(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _AgentLeft
        body += message["body"]
        if len(body) > MAX_REQUEST:
            raise _TooLarge
        more = message["more_body"]
    return bytes(body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_TOO_LARGE = Refusal(
    413, "body_too_large", f"The request is larger than the {MAX_REQUEST} bytes that the gateway takes."
)


def _unknown(method: str, path: str) -> Refusal:
    served = ", ".join(f"/v1{known}" for known in sorted(SERVED | {"/models"}))
    return Refusal(404, "unknown_url", f"Unknown request URL: {method} {path}. The gateway serves {served}.")


def _models(aliases: list[str]) -> Answer:
    models = [{"id": alias, "object": "model", "created": 0, "owned_by": "outlast"} for alias in aliases]
    return Answer(200, (JSON,), msgspec.json.encode({"object": "list", "data": models}))
