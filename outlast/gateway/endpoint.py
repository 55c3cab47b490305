"""The server that agents talk to, in OpenAI's dialect or Anthropic's: who asks, what for, and what becomes of it when
either side goes.

It must never let a call through for an attempt that no longer holds its run.
"""

import asyncio
from contextlib import aclosing

from starlette.types import Message, Receive, Scope, Send

from outlast import telemetry
from outlast.gateway import arrival
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
from outlast.gateway.dialect import SERVED, Dialect, models_body, spoken, token
from outlast.gateway.flight import Cut, Line
from outlast.gateway.grants import MAX_IN_FLIGHT, Grants, Holder
from outlast.gateway.room import Full, Room
from outlast.gateway.upstream import Upstreams

MAX_REQUEST = 32 * 1024 * 1024
MAX_BUFFERED = 256 * 1024 * 1024
"""Bytes of all requests together that are held at one time: until its answer, a call may have to be sent again."""
MAX_WAITING = 256
"""Calls of one attempt that may wait for a place: each is a connection."""
WAIT_S = 60.0
"""How long a call waits for memory that others hold."""

_log = telemetry.get("gateway")


class Endpoint:
    """The ASGI application."""

    def __init__(self, grants: Grants, upstreams: Upstreams, calls: Calls) -> None:
        self._grants = grants
        self._upstreams = upstreams
        self._calls = calls
        self._memory = Room(MAX_BUFFERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/v1")
        dialect = spoken(path, scope["headers"])
        reply = _Reply(send, dialect)
        try:
            await self._route(path, scope, receive, reply)
        except arrival.AgentLeft:
            pass
        except arrival.TooLarge:
            await reply.refuse(_TOO_LARGE)
        except arrival.TooSlow:
            await reply.refuse(_too_slow())
        except Full:
            await reply.refuse(_BUSY)
        except Exception as error:
            _log.error("gateway failed", exc=error)
            await reply.refuse(FAILED)

    async def _route(self, path: str, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        attempt_id = self._grants.attempt(token(scope["headers"]))
        if attempt_id is None:
            return await reply.refuse(NO_TOKEN)
        holder = self._grants.holder(attempt_id)
        if holder is None:
            return await reply.refuse(ATTEMPT_OVER)
        match scope["method"], path:
            case "GET", "/models":
                names = self._upstreams.names(reply.dialect)
                await reply.send(Answer(200, (JSON,), models_body(reply.dialect, names)))
            case "POST", _ if path in SERVED:
                await self._admit(holder, path, scope, receive, reply)
            case method, _:
                await reply.refuse(_unknown(method, scope["path"]))

    async def _admit(
        self, holder: Holder, path: str, scope: Scope, receive: Receive, reply: "_Reply"
    ) -> None:
        """Read the call and have it made, once there is a place and memory for it; both are held until its answer."""
        if holder.places.is_taken and holder.places.waiting >= MAX_WAITING:
            return await reply.refuse(_TOO_MANY)
        size = arrival.declared(scope["headers"], MAX_REQUEST)
        async with holder.places.share(1), self._memory.share(size, within_s=WAIT_S) as share:
            body = await arrival.whole(receive, MAX_REQUEST)
            share.shrink(len(body))
            ask = Ask(path, scope["query_string"].decode("latin-1"), tuple(scope["headers"]), body)
            await self._take(holder, ask, receive, reply)

    async def _take(self, holder: Holder, ask: Ask, receive: Receive, reply: "_Reply") -> None:
        """Answer the call. That the agent leaves ends nothing: its run may go on, and then the answer is wanted."""
        if not await holder.may_begin():
            return await reply.refuse(ATTEMPT_OVER)
        line = Line()
        call = asyncio.create_task(self._answer(holder, ask, line, reply))
        leaving = asyncio.create_task(_left(receive, line))
        holder.calls.add(call)
        try:
            await asyncio.wait((call,))
        finally:
            holder.calls.discard(call)
            call.cancel()
            leaving.cancel()
        if call.cancelled():
            await reply.refuse(ATTEMPT_OVER)
        else:
            call.result()

    async def _answer(self, holder: Holder, ask: Ask, line: Line, reply: "_Reply") -> None:
        try:
            await reply.send(await self._calls.call(holder, ask, line))
            line.is_served = line.is_open
        except Cut:
            await reply.refuse(ATTEMPT_OVER)
        except BrokenOff as error:
            await reply.refuse(Refusal(502, "provider_broke_off", str(error)))


class _Reply:
    """The answer to one request; what is sent after it has begun is not sent, and leaves it broken off."""

    def __init__(self, send: Send, dialect: Dialect) -> None:
        self.dialect = dialect
        self._send = send
        self._begun = False

    async def refuse(self, refusal: Refusal) -> None:
        """Say no in the agent's dialect."""
        await self.send(refusal.answer(self.dialect))

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


async def _left(receive: Receive, line: Line) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    line.close()


_TOO_LARGE = Refusal(
    413, "body_too_large", f"The request is larger than the {MAX_REQUEST} bytes that the gateway takes."
)
_TOO_MANY = Refusal(
    429,
    "too_many_calls",
    f"This attempt has {MAX_IN_FLIGHT} model calls in flight and {MAX_WAITING} that wait for their turn.",
    may_retry=True,
)
_BUSY = Refusal(
    503,
    "gateway_busy",
    f"The requests of all agents together fill the {MAX_BUFFERED // 2**20} MiB that the gateway has for them.",
    may_retry=True,
)


def _too_slow() -> Refusal:
    words = f"The request did not arrive within {arrival.BODY_S:g} s."
    return Refusal(408, "request_timeout", words, may_retry=True)


def _unknown(method: str, path: str) -> Refusal:
    served = ", ".join(f"/v1{known}" for known in sorted(SERVED | {"/models"}))
    return Refusal(404, "unknown_url", f"Unknown request URL: {method} {path}. The gateway serves {served}.")
