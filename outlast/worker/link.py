"""Frames between the worker and its processes: msgpack with the length before it, over a socket pair.

What is sent in one turn of the event loop leaves in one write. What comes is read in bounded pieces, so that no
process can hold up the loop that also serves the API. A peer that sends anything else than its frames is cut off.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from outlast.runners.protocol import ToChild, ToParent

Sent = TypeVar("Sent")
Heard = TypeVar("Heard")

FRAME_MAX = 64 * 1024 * 1024
"""Bytes: more than the largest request or result that is accepted."""
READ_MAX = 128 * 1024
"""Bytes read per turn of the loop."""
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()

TO_CHILD: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
TO_PARENT: msgspec.msgpack.Decoder[ToParent] = msgspec.msgpack.Decoder(ToParent)


class BrokenPeer(Exception):
    """The other end sent something that is no frame of ours."""


def pack(frame: object) -> bytes:
    """One frame as it goes over the wire."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


class Inbox(Generic[Heard]):
    """Makes frames of the bytes that came."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Heard]) -> None:
        self._decoder = decoder
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Heard]:
        """The frames that are complete now; `BrokenPeer` if these are none."""
        self._bytes += data
        frames: list[Heard] = []
        at, end = 0, len(self._bytes)
        with memoryview(self._bytes) as view:
            while end - at >= 4:
                (size,) = _LENGTH.unpack_from(view, at)
                if size > FRAME_MAX:
                    raise BrokenPeer(f"A frame of {size} bytes was announced.")
                if end - at - 4 < size:
                    break
                frames.append(self._decode(view[at + 4 : at + 4 + size]))
                at += 4 + size
        if at:
            del self._bytes[:at]
        return frames

    def _decode(self, body: memoryview) -> Heard:
        try:
            with body:
                return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise BrokenPeer(str(error)) from error


class Link(Generic[Sent, Heard]):
    """One end, on an event loop. `on_frames` hears what came, `on_close` once that nothing comes any more."""

    def __init__(
        self,
        end: socket.socket,
        decoder: msgspec.msgpack.Decoder[Heard],
        on_frames: Callable[[list[Heard]], None],
        on_close: Callable[[], None],
    ) -> None:
        end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = end
        self._inbox = Inbox(decoder)
        self._on_frames = on_frames
        self._on_close = on_close
        self._outbox = bytearray()
        self._flushing = False
        self.closed = False
        self._loop.add_reader(end, self._read)

    def send(self, frame: Sent) -> None:
        """Send a frame with whatever else is sent in this turn; after the end, nothing happens."""
        if self.closed:
            return
        self._outbox += pack(frame)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def pause(self, seconds: float) -> None:
        """Read nothing for a while: the peer is held up by its full buffer."""
        if not self.closed:
            self._loop.remove_reader(self._socket)
            self._loop.call_later(seconds, self._resume)

    def drain(self) -> None:
        """Hear what the peer has sent up to now, past any pause: it is dead and its last words are in the buffer."""
        while not self.closed and self._read():
            pass

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._on_close()

    def _resume(self) -> None:
        if not self.closed:
            self._loop.add_reader(self._socket, self._read)

    def _read(self) -> bool:
        try:
            data = self._socket.recv(READ_MAX)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        try:
            frames = self._inbox.feed(data)
        except BrokenPeer:
            self.close()
            return False
        if frames:
            self._on_frames(frames)
        return True

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            sent = self._socket.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._outbox[:sent]
        self._flushing = bool(self._outbox)
        if self._flushing:
            self._loop.add_writer(self._socket, self._flush)
        else:
            self._loop.remove_writer(self._socket)
