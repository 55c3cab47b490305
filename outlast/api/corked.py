"""A connection that writes once a turn: uvicorn hands over the head and the body of an answer one after the other.

uvloop sends each at once, and for small answers a send is the dearest thing there is: two cost the server and the
client a pass through the network each.
"""

import asyncio

FULL_BYTES = 64 * 1024
"""What is waiting to be sent leaves at once from here on, so that a reader who is slow is noticed."""


class Corked(asyncio.Transport):
    """A transport of which everything written in one turn of the loop leaves in one piece, and in order."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > FULL_BYTES:
            self._flush()

    def close(self) -> None:
        """After what was written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._waiting.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def _flush(self) -> None:
        if self._waiting and not self._transport.is_closing():
            self._transport.write(b"".join(self._waiting))
        self._waiting.clear()
        self._size = 0
