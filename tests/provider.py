"""A scripted model provider: a real HTTP server on loopback in the dialects of OpenAI and Anthropic, for tests.

    with Provider() as provider:
        provider.script(Fail(429, headers={"retry-after": "0"}), Say("Four."))
        ...  # talk to provider.base_url with provider.key
        assert [asked.json["model"] for asked in provider.asked] == ["m", "m"]

It answers `/v1/chat/completions`, `/v1/responses` and `/v1/messages` (streaming when the request asks for it),
`/v1/messages/count_tokens`, `/v1/embeddings` and `/v1/models`. Scripted replies are used up in order, one for each
call; after them `provider.answer(asked)` decides, which says "Hello." until a test sets another function. It lives on a
thread with a loop of its own, so it serves synchronous and asynchronous tests alike and sees a disconnect at once,
however busy the test's own loop is.
"""

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Self

import msgspec
import uvicorn

from tests import anthropic_wire
from tests import openai_wire as wire
from tests.openai_wire import Json

KEY = "sk-provider-secret-0123456789"

Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Asked:
    """One request that reached the provider."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes, query: str = "") -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.at = time.monotonic()
        self.pieces = 0
        """How many pieces of the answer's body have been sent."""
        self.answered = False
        """The reply was sent to its end."""
        self.is_held = False
        """The reply has come to where it is held back."""
        self.may_go = asyncio.Event()
        self.disconnected_at: float | None = None
        """When the caller went away before that, on `time.monotonic`."""

    @property
    def json(self) -> Json:
        return msgspec.json.decode(self.body, type=Json)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer comes: late, slowly, or not before the test says so."""

    delay_s: float = 0.0
    """Before the status line."""
    pause_s: float = 0.0
    """Before each piece of the body after the first."""
    hold_after: int | None = None
    """Send so many pieces of the body, then wait for `provider.release()`; 0 holds back the status line too."""
    break_after: int | None = None
    """Send so many pieces of the body (at least one), then drop the connection."""


class Say(Reply, frozen=True):
    """A model's answer, in the form the request asks for; a stream delivers it word by word."""

    text: str = "Hello."
    input_tokens: int = 11
    output_tokens: int = 5
    tool: str | None = None
    """Call this tool instead of saying anything."""
    arguments: str = "{}"
    calls: tuple[wire.ToolCall, ...] = ()
    """Or call all of these."""
    id: str = "1"
    """Of the answer, after its kind; agents may tell messages apart by it."""
    usage: Json = {}
    """A message's own, instead of one made of the two numbers."""


class Fail(Reply, frozen=True):
    """An error in the form of whose path was asked."""

    status: int = 500
    message: str = "The provider had a problem."
    headers: dict[str, str] = {}


class Raw(Reply, frozen=True):
    """Exactly these bytes."""

    pieces: tuple[bytes, ...] = ()
    status: int = 200
    headers: dict[str, str] = {}


AnyReply = Say | Fail | Raw


class Provider:
    """The server: a context manager that serves while it is entered."""

    def __init__(self, key: str = KEY, host: str = "127.0.0.1") -> None:
        self.key = key
        """Requests without this bearer key get 401; empty: nobody is asked for one."""
        self.asked: list[Asked] = []
        """Every request that got past the key, oldest first."""
        self.answer: Callable[[Asked], AnyReply] = lambda asked: Say()
        self._script: deque[AnyReply] = deque()
        self._is_released = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.create_server((host, 0), backlog=1024)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._serve, interface="asgi3", lifespan="off", ws="none", log_config=None, access_log=False
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="provider")

    @property
    def base_url(self) -> str:
        """What goes into OPENAI_BASE_URL."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait(lambda: self._server.started, "the provider to start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    def script(self, *replies: AnyReply) -> None:
        """Queue replies, one for each call to come."""
        self._script.extend(replies)

    def release(self) -> None:
        """Let every held reply go on, and those to come."""
        self._is_released = True
        for asked in list(self.asked):
            self.let_go(asked)

    def let_go(self, asked: Asked) -> None:
        """Let this reply go on that is held."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(asked.may_go.set)

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        """Block until the condition holds; an assertion names what it waited for."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
            time.sleep(0.002)

    async def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        """`wait` for asynchronous tests."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
            await asyncio.sleep(0.002)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    async def _serve(self, scope: MutableMapping[str, object], receive: Receive, send: Send) -> None:
        asked = await _read(scope, receive)
        if (
            self.key
            and f"Bearer {self.key}" != asked.headers.get("authorization")
            and not self._is_asked(asked)
        ):
            await _Sending(asked, send).all(_rendered(asked, Fail(401, "Incorrect API key provided.")))
            return
        self.asked.append(asked)
        sending = asyncio.create_task(self._reply(asked, send))
        leaving = asyncio.create_task(_gone(receive))
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            asked.disconnected_at = time.monotonic()
            sending.cancel()
        leaving.cancel()
        for outcome in await asyncio.gather(sending, leaving, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def _is_asked(self, asked: Asked) -> bool:
        """With the key where Anthropic and Azure have theirs."""
        return self.key in (asked.headers.get("x-api-key"), asked.headers.get("api-key"))

    async def _reply(self, asked: Asked, send: Send) -> None:
        reply = self._script.popleft() if self._script else self.answer(asked)
        await asyncio.sleep(reply.delay_s)
        raw = _rendered(asked, reply)
        sending = _Sending(asked, send)
        if reply.hold_after == 0:
            await self._hold(asked)
        await sending.start(raw)
        for n, piece in enumerate(raw.pieces):
            if n:
                await asyncio.sleep(reply.pause_s)
            await sending.piece(piece)
            if n + 1 == reply.hold_after:
                await self._hold(asked)
            if n + 1 == reply.break_after:
                raise ConnectionAbortedError("scripted")
        await sending.end()

    async def _hold(self, asked: Asked) -> None:
        if not self._is_released:
            asked.is_held = True
            await asked.may_go.wait()


class _Sending:
    """Puts one answer on the wire and keeps count."""

    def __init__(self, asked: Asked, send: Send) -> None:
        self._asked = asked
        self._send = send

    async def start(self, raw: Raw) -> None:
        headers = [(name.encode(), value.encode()) for name, value in raw.headers.items()]
        await self._send({"type": "http.response.start", "status": raw.status, "headers": headers})

    async def piece(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._asked.pieces += 1

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})
        self._asked.answered = True

    async def all(self, raw: Raw) -> None:
        await self.start(raw)
        for piece in raw.pieces:
            await self.piece(piece)
        await self.end()


async def _read(scope: MutableMapping[str, object], receive: Receive) -> Asked:
    raw_headers = scope["headers"]
    assert isinstance(raw_headers, Iterable)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw_headers}
    body, more = b"", True
    while more:
        message = await receive()
        piece = message.get("body", b"")
        assert isinstance(piece, bytes)
        body, more = body + piece, bool(message.get("more_body"))
    query = scope["query_string"]
    assert isinstance(query, bytes)
    return Asked(str(scope["method"]), str(scope["path"]), headers, body, query.decode("latin-1"))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


JSON_HEADERS = {"content-type": "application/json", "x-request-id": "req_provider_1"}
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_provider_1"}


def _rendered(asked: Asked, reply: AnyReply) -> Raw:
    match reply:
        case Raw():
            return reply
        case Fail(status=status, message=message, headers=headers):
            form = anthropic_wire if asked.path.startswith("/v1/messages") else wire
            return Raw((form.error_body(status, message),), status, {**JSON_HEADERS, **headers})
        case Say():
            return _said(asked, reply)


def _said(asked: Asked, say: Say) -> Raw:
    if asked.path == "/v1/models":
        models = {"object": "list", "data": [{"id": "gpt-test", "object": "model", "owned_by": "tests"}]}
        return Raw((wire.encode(models),), 200, JSON_HEADERS)
    body = asked.json
    if asked.path == "/v1/embeddings":
        inputs = body["input"]
        count = len(inputs) if isinstance(inputs, list) else 1
        return Raw((wire.embeddings_answer(str(body["model"]), count),), 200, JSON_HEADERS)
    if asked.path == "/v1/messages/count_tokens":
        return Raw((wire.encode({"input_tokens": say.input_tokens}),), 200, JSON_HEADERS)
    *first, last = say.text.split(" ")
    words = (*(word + " " for word in first), last)
    calls = (wire.ToolCall(say.tool, say.arguments),) if say.tool else say.calls
    answer = wire.Answer(str(body["model"]), words, say.input_tokens, say.output_tokens, calls, say.id)
    if asked.path == "/v1/chat/completions":
        return _said_in_chat(body, answer)
    if asked.path == "/v1/responses":
        pieces = wire.responses_events(answer) if body.get("stream") else [wire.responses_answer(answer)]
        return Raw(tuple(pieces), 200, STREAM_HEADERS if body.get("stream") else JSON_HEADERS)
    if asked.path == "/v1/messages":
        usage = say.usage or None
        if body.get("stream"):
            return Raw(tuple(anthropic_wire.events(answer, usage)), 200, STREAM_HEADERS)
        return Raw((anthropic_wire.message(answer, usage),), 200, JSON_HEADERS)
    return _rendered(asked, Fail(404, f"Unknown request URL: {asked.path}"))


def _said_in_chat(body: Json, answer: wire.Answer) -> Raw:
    if not body.get("stream"):
        return Raw((wire.chat_answer(answer),), 200, JSON_HEADERS)
    options = body.get("stream_options")
    with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Raw(tuple(wire.chat_chunks(answer, with_usage=with_usage)), 200, STREAM_HEADERS)
