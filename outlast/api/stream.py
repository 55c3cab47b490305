"""A run's events as server-sent events: raw ASGI, because an open stream is paid for by the kilobyte.

The store is the truth; what is heard in memory only saves asking it. Events are numbered without a gap, so a stream
that sees one goes back to the store, and a client that comes back with the last number it saw misses nothing. Token
deltas have no number: they are shown to whoever watches, and lost on whoever does not.
"""

import asyncio
from contextlib import suppress
from typing import Protocol

import msgspec
from starlette.types import Message, Receive, Send

from outlast.api.http import push
from outlast.api.render import INLINE_RESULT, encode, merged
from outlast.engine import Engine
from outlast.errors import OutlastError
from outlast.runs import Caller, Event, EventKind
from outlast.telemetry import get
from outlast.wakeups import Watch

HEARTBEAT_S = 3.0
"""httpx gives up on a stream that is silent for 5 s unless told otherwise, and the streams of many clients do so."""
PAGE = 500
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
DONE = b"data: [DONE]\n\n"

log = get("api")


class Draining(Protocol):
    """Whether the server is shutting down; whoever sets it also calls `Wakeups.wake_all`."""

    def is_set(self) -> bool: ...


class OpenStreams:
    """How many streams are open in this process."""

    count = 0


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """One reader of one run, from event `after` on."""

    engine: Engine
    draining: Draining
    open_streams: OpenStreams
    caller: Caller
    run_id: str
    result_url: str
    after: int
    named: bool = False
    tokens: bool = False
    head_only: bool = False

    async def send(self, receive: Receive, send: Send) -> None:
        """Write events until the run has ended, the reader has gone, or the server drains."""
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        if self.head_only:
            await send(_END)
            return
        self.open_streams.count += 1
        try:
            with self.engine.watch(self.run_id, tokens=self.tokens) as watch:
                await _Reader(self, watch, send).read(receive)
        except OutlastError as error:
            # The answer has begun, so it can only be cut short: the reader comes back and gets the problem then.
            log.info("stream cut short", run_id=self.run_id, code=error.code)
        finally:
            self.open_streams.count -= 1
        await send(_END)


_END: Message = {"type": "http.response.body", "body": b""}


class _Reader:
    """What changes while a stream is open."""

    __slots__ = ("_after", "_ended", "_gone", "_send", "_stream", "_watch")

    def __init__(self, stream: EventStream, watch: Watch, send: Send) -> None:
        self._stream = stream
        self._watch = watch
        self._send = send
        self._after = stream.after
        self._ended = False
        self._gone = False

    async def read(self, receive: Receive) -> None:
        listener = asyncio.create_task(self._notice_departure(receive))
        try:
            await self._catch_up()
            while not self._is_over():
                await self._next()
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _notice_departure(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._watch.hear_nothing()

    def _is_over(self) -> bool:
        return self._ended or self._gone or self._stream.draining.is_set()

    async def _next(self) -> None:
        """Wait for news, or for so long that the connection needs a sign of life."""
        await self._watch.wait(HEARTBEAT_S)
        if self._is_over():
            return
        tokens = self._watch.take_tokens()
        is_stale = self._watch.take_stale()
        events = [event for event in self._watch.take_events() if event.seq > self._after]
        if tokens:
            await push(self._send, b"".join(_token(text, named=self._stream.named) for text in tokens))
        if is_stale:
            await self._catch_up()
        elif events:
            await (self._deliver(events) if events[0].seq == self._after + 1 else self._catch_up())
        elif not tokens:
            await push(self._send, b": alive\n\n")

    async def _catch_up(self) -> None:
        """Everything the store has after the last event sent."""
        stream = self._stream
        while not self._is_over():
            events = await stream.engine.events(stream.caller, stream.run_id, self._after, PAGE)
            await self._deliver(events)
            if len(events) < PAGE:
                return

    async def _deliver(self, events: list[Event]) -> None:
        if not events:
            return
        lines = [await self._line(event) for event in events]
        self._after = events[-1].seq
        if events[-1].kind is EventKind.COMPLETE:
            lines.append(DONE)
            self._ended = True
        await push(self._send, b"".join(lines))

    async def _line(self, event: Event) -> bytes:
        data = event.data
        if event.kind is EventKind.COMPLETE:
            data = merged(data, await self._outcome())
        elif event.kind is EventKind.PROGRESS and b'"percentage"' not in data:
            data = merged(b'{"percentage":0}', data)
        return line(event.kind.value, data, seq=event.seq, named=self._stream.named)

    async def _outcome(self) -> bytes:
        """What `complete` says beyond what is stored in it: the result of a run that succeeded."""
        stream = self._stream
        run = await stream.engine.get(stream.caller, stream.run_id)
        if run.result_size is None:
            return b"{}"
        if run.result_size > INLINE_RESULT:
            return encode({"result_url": stream.result_url, "result_size": run.result_size})
        _, result = await stream.engine.result(stream.caller, stream.run_id)
        return b'{"result":' + result + b"}"


def line(kind: str, data: bytes, *, seq: int | None = None, named: bool = False) -> bytes:
    """One event as it is sent; `data` is a JSON object."""
    number = b"" if seq is None else b"id: %d\n" % seq
    name = f"event: {kind}\n".encode() if named else b""
    return b'%s%sdata: {"event":"%s","data":%s}\n\n' % (number, name, kind.encode(), on_one_line(data))


def _token(text: str, *, named: bool) -> bytes:
    return line("token", encode({"text": text}), named=named)


_BREAKS = (
    (b"\n", b" "),
    (b"\r", b" "),
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def on_one_line(json: bytes) -> bytes:
    """The same JSON without any line break: also those that only Unicode knows, at which many clients cut lines.

    Inside a JSON string a newline is always escaped, so a raw one is mere whitespace.
    """
    for found, instead in _BREAKS:
        if found in json:
            json = json.replace(found, instead)
    return json
