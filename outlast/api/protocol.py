"""uvicorn's HTTP with an end to its patience: the head of a request has to arrive in time, and within bounds.

uvicorn itself waits for the rest of a half-sent head for ever and keeps as much of it as is sent. It also lets the
application speak into a connection that it has just closed, which the loop calls an error, and tells only the newest
of several pipelined requests that their client has left.
"""

import asyncio

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from outlast.api.corked import Corked

HEAD_DEADLINE_S = 10.0
MAX_HEAD_BYTES = 64 * 1024


class _Nowhere(list[tuple[bytes, bytes]]):
    """Takes the fields after a chunked body, which nobody reads; uvicorn keeps them all, however many come."""

    def append(self, field: tuple[bytes, bytes], /) -> None:
        pass


_NOWHERE = _Nowhere()


class HttpProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=HttpProtocol)`. Bodies are timed and counted by the application, see `body`."""

    _head: asyncio.TimerHandle | None = None
    """Set while a head is awaited: from the connection on, and from the first part of one that came in parts."""
    _head_bytes = 0
    _in_head = True
    """Whether a head has begun, or the first one is to come."""
    _answering: RequestResponseCycle | None = None
    """The request that the application was given last; those pipelined after it wait."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own is
        super().connection_made(Corked(transport, self.loop))
        self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._forget_head()
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = _NOWHERE

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:  # most heads come in one piece, and then no timer is needed
            self._await_head()
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def send_400_response(self, msg: str) -> None:
        if self._may_answer():
            super().send_400_response(msg)
        else:
            self.transport.close()
        self._hang_up()

    def eof_received(self) -> None:
        self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._hang_up()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _may_answer(self) -> bool:
        """Whether an answer sent now is the one to what broke off, and not taken for one to a request before it."""
        cycle = self._answering
        if cycle is None or cycle.response_complete:
            return True
        return cycle is self.cycle and cycle.more_body and not cycle.response_started

    def _hang_up(self) -> None:
        """Tell the application that nobody hears it, before it speaks into a closed connection."""
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_DEADLINE_S, self._refuse, b"408 Request Timeout")
            self._head_bytes = 0

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self, status: bytes) -> None:
        self._forget_head()
        if self.transport.is_closing():
            return
        if self._may_answer():
            self.transport.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self.transport.close()
        self._hang_up()
