"""What the processes that share a data folder say to each other after their commits, over socket pairs.

Messages that find the other's buffer full are dropped, and it is told that it missed some.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Sequence

import msgspec

from outlast.store.protocol import OnRung, OnTold, Rung

RUNGS_MAX = 500
"""Rungs of one message: some 30 kB."""
MESSAGE_MAX = 128 * 1024
AGAIN_S = 0.02
KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
"""Keeps messages apart; macOS has no such socket that also tells of its end."""
_NO_ROOM = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EMSGSIZE))
_RUNGS, _TOLD = b"r", b"t"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Rung]).decode


class Peer:
    """Our end of the line to one other process."""

    def __init__(
        self, end: socket.socket, on_rung: OnRung, on_told: OnTold, on_close: Callable[["Peer"], None]
    ) -> None:
        end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._on_rung = on_rung
        self._on_told = on_told
        self._on_close = on_close
        self._has_missed = False
        self._loop.add_reader(end, self._read)

    def ring(self, rungs: Sequence[Rung]) -> None:
        for start in range(0, len(rungs), RUNGS_MAX):
            self._send(_RUNGS + _encode(rungs[start : start + RUNGS_MAX]))

    def tell(self, message: bytes) -> None:
        self._send(_TOLD + message)

    def close(self) -> None:
        self._loop.remove_reader(self._end)
        self._end.close()

    def _send(self, message: bytes) -> None:
        try:
            self._end.send(message)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._miss()  # any other: it is gone, which our reading end will notice

    def _miss(self) -> None:
        if not self._has_missed:
            self._has_missed = True
            self._loop.call_later(AGAIN_S, self._say_missed)

    def _say_missed(self) -> None:
        self._has_missed = False
        if self._end.fileno() >= 0:
            self._send(_RUNGS + _encode([]))

    def _read(self) -> None:
        try:
            message = self._end.recv(MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._on_close(self)
        elif message.startswith(_RUNGS):
            self._on_rung(_decode(message[1:]))
        else:
            self._on_told(message[1:])
