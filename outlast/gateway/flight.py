"""An answer on its way: read by a task of its own into a buffer, and handed from there to whoever asked.

That the agent's connection goes does not stop it; only a cut does. Nobody is handed the last of an answer before what
had to be written down is written.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from outlast.gateway.answer import Answer, BrokenOff, Header
from outlast.gateway.usage import Mark

MAX_STREAM = 64 * 1024 * 1024
"""Bytes of a stream that are held; a longer one is broken off."""
AHEAD = 4 * 1024 * 1024
"""A stream is read no further than so far ahead of the one agent that it is for, while that agent is there."""


class Cut(Exception):
    """The call was ended because its attempt may no longer have it."""


class Line:
    """The connection to one asker."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_served = False
        """All of the answer was sent while it was open."""
        self.on_close: Callable[[], None] = _nothing

    def close(self) -> None:
        """The asker has gone."""
        self.is_open = False
        self.on_close()


def _nothing() -> None:
    return None


class Flight:
    """One answer. `status`, `headers` and `streamed` are known once it has `begun`."""

    def __init__(self, *, asked_as_stream: bool) -> None:
        self.asked_as_stream = asked_as_stream
        """Who asked like that gets it as it comes, whether or not it is a stream."""
        self.status = 0
        self.headers: tuple[Header, ...] = ()
        self.streamed = False
        self.body = b""
        """If it is not a stream."""
        self._lines: list[Line] = []
        self._events: list[tuple[bytes, Mark]] = []
        self._size = 0
        self._taken = 0
        """Bytes that some asker has had."""
        self._is_wanted_whole = False
        """Somebody waits for its end before they take any of it."""
        self._has_begun = False
        self._has_ended = False
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # The reader's side.

    def begin(self, status: int, headers: tuple[Header, ...]) -> None:
        """It is a stream, and begins."""
        self.status, self.headers, self.streamed = status, headers, True
        self._has_begun = True
        self._tell()

    def add(self, event: bytes, mark: Mark) -> None:
        """The stream's next event."""
        self._events.append((event, mark))
        self._size += len(event)
        if self._size > MAX_STREAM:
            raise BrokenOff(f"The provider's stream is longer than {MAX_STREAM} bytes.")
        self._tell()

    async def room(self) -> None:
        """Wait until the agent has taken enough for more to be read; not for one that has gone."""
        while self._is_too_far_ahead():
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def end(self) -> None:
        """The stream is complete."""
        self._has_ended = True
        self._tell()

    def whole(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """It is no stream, and here it is."""
        self.status, self.headers, self.body = status, headers, body
        self._has_begun = True
        self.end()

    def answer(self, answer: Answer) -> None:
        """It is one of the gateway's own."""
        assert isinstance(answer.body, bytes)
        self.whole(answer.status, answer.headers, answer.body)

    def fail(self, error: Exception) -> None:
        """It will not be complete; unless it is already."""
        if not self._has_ended:
            self._error = error
            self.end()

    @property
    def stream(self) -> bytes:
        """All that has come of the stream."""
        return b"".join(event for event, _ in self._events)

    # The askers' side.

    async def begun(self) -> None:
        """Wait for its status; raises what it failed with."""
        await self._until_begun_or_over()
        if not self._has_begun and self._error is not None:
            raise self._error

    async def complete(self) -> None:
        """Wait for its end; raises what it failed with."""
        self._is_wanted_whole = True
        self._make_room()
        while not self._has_ended:
            await self._wait()
        if self._error is not None:
            raise self._error

    async def pieces(self, *, with_usage: bool) -> AsyncGenerator[bytes, None]:
        """The stream from its beginning, as it comes; raises what it failed with."""
        at, size = 0, 0
        while True:
            fresh, is_last = self._events[at:], self._has_ended
            at += len(fresh)
            size += sum(len(event) for event, _ in fresh)
            if piece := b"".join(event for event, mark in fresh if with_usage or mark is not Mark.USAGE_ONLY):
                yield piece
            self._take(size)
            if not fresh and is_last:
                break
            if at == len(self._events) and not self._has_ended:
                await self._wait()
        if self._error is not None:
            raise self._error

    def join(self, line: Line) -> None:
        """One more who waits for it."""
        line.on_close = self._make_room
        self._lines.append(line)

    def _take(self, size: int) -> None:
        self._taken = max(self._taken, size)
        self._make_room()

    def _is_too_far_ahead(self) -> bool:
        if self._is_wanted_whole or self._size - self._taken <= AHEAD:
            return False
        return any(line.is_open for line in self._lines)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _until_begun_or_over(self) -> None:
        while not (self._has_begun or self._has_ended):
            await self._wait()

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set_result(None)
