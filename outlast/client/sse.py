"""Reads a run's event stream, without doing I/O: bytes in, events out, and the place to resume from.

Lines end in LF, CR or CRLF and nowhere else: a text may contain U+2028 and other characters that
`str.splitlines` (and httpx's `iter_lines`) would break it at.
"""

import re
from collections.abc import Iterator

import msgspec

from outlast.client.models import Event

NO_CONTENT = 204
"""The answer to a stream of which nothing is left to say."""

_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")
_decode = msgspec.json.Decoder(Event).decode


class Reader:
    """Takes in one run's stream over as many connections as it takes; never gives the same event twice."""

    def __init__(self, after: int = 0) -> None:
        self.last_id = after
        """The number of the last event given out: where the next connection resumes."""
        self.done = False
        """Nothing more will come."""
        self._buffer = b""
        self._data: list[bytes] = []
        self._id: int | None = None

    def connected(self) -> None:
        """A new connection begins: what the old one left half-said is forgotten and will be said again."""
        self._buffer = b""
        self._data.clear()
        self._id = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes."""
        *lines, self._buffer = _LINE_END.split(self._buffer + chunk)
        for line in lines:
            if line:
                self._field(line)
            else:
                yield from self._dispatch()

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id" and value.isdigit():
            self._id = int(value)

    def _dispatch(self) -> Iterator[Event]:
        data, number = b"\n".join(self._data), self._id
        self._data.clear()
        self._id = None
        if data == b"[DONE]":
            self.done = True
        elif data and (number is None or number > self.last_id):
            self.last_id = number or self.last_id
            event = msgspec.structs.replace(_decode(data), id=number)
            self.done = event.is_last
            yield event
