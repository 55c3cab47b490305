"""A request as our routes read it, and an answer as they give it: thin over ASGI, because each layer is paid per call.

Headers stay raw bytes, the query is parsed only when asked for, nothing is copied. Answers of any size are written
with back-pressure; a reader that takes nothing for `SEND_DEADLINE_S` is dropped.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from outlast.errors import InvalidQuery
from outlast.runs import Caller

Header = tuple[bytes, bytes]
CHUNK = 64 * 1024
SEND_DEADLINE_S = 30.0
JSON: Header = (b"content-type", b"application/json")
CLOSE: Header = (b"connection", b"close")


_NOBODY = Caller()


class Gone(Exception):
    """The client went away, or stopped reading; there is nobody to answer."""


class Request:
    """One HTTP request, with the caller it was admitted as."""

    __slots__ = (
        "_headers",
        "_query",
        "caller",
        "job_id",
        "receive",
        "schedule_id",
        "scope",
        "session_id",
        "step",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.caller = _NOBODY
        self.job_id = ""
        self.schedule_id = ""
        self.session_id = ""
        self.step = ""
        self._headers: dict[bytes, bytes] | None = None
        self._query: dict[str, str] | None = None

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name, null when absent; of one that came twice, the last."""
        headers = self._headers
        if headers is None:
            headers = self._headers = dict(self.scope["headers"])
        value = headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of one that came twice, the last."""
        if self._query is None:
            raw: bytes = self.scope["query_string"]
            self._query = _parse_query(raw) if raw else {}
        return self._query

    def flag(self, name: str) -> bool:
        """A switch such as `?tokens=1`."""
        value = self.query.get(name, "0").lower()
        if value not in ("0", "1", "true", "false"):
            raise InvalidQuery(f"{name} is a switch: 1 or 0.")
        return value in ("1", "true")


def _parse_query(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise InvalidQuery("The query has more than 100 parameters.") from error


class Answer(Protocol):
    """What a route returns: something that can send itself."""

    async def send(self, receive: Receive, send: Send) -> None: ...


class Reply:
    """A complete answer: status, body, headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: tuple[Header, ...] = (JSON,)) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def send(self, receive: Receive, send: Send) -> None:
        headers = list(self.headers)
        if self.status != 204:
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if len(self.body) > CHUNK:
            await push(send, self.body)
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": self.body})


async def push(send: Send, data: bytes) -> None:
    """Write a part of a body, in pieces, each within the deadline; `Gone` when the reader does not read."""
    view = memoryview(data)
    for start in range(0, len(data), CHUNK):
        await _push_piece(send, bytes(view[start : start + CHUNK]))


async def _push_piece(send: Send, piece: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_DEADLINE_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError as error:
        abort(send)
        await asyncio.sleep(0)  # the server hears of it in the loop's next round, and then does not complain
        raise Gone from error
    except OSError as error:
        raise Gone from error


def abort(send: Send) -> None:
    """Cut the connection without waiting for what is still unsent.

    ASGI has no word for it: a server that closes politely keeps the unread bytes for as long as the other end
    keeps its window shut. uvicorn's `send` is a method of the cycle that holds the transport.
    """
    inner: Callable[..., object] = send.keywords.get("send", send) if isinstance(send, partial) else send
    cut = getattr(getattr(getattr(inner, "__self__", None), "transport", None), "abort", None)
    if callable(cut):
        cut()
