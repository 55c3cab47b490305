"""A reader of a run's stream: every line of the run's log with the moment at which its bytes were there."""

import socket
import time
from collections.abc import Iterator

import msgspec

from bench.load import LoadError, get

_PATIENCE_S = 120.0
_CHUNK = 32 * 1024


class _Data(msgspec.Struct):
    message: str = ""


class _Event(msgspec.Struct):
    event: str
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


class Reader:
    """Open as long as the stream is; `lines` ends with the run."""

    def __init__(self, port: int, run_id: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self._socket.sendall(get(f"/api/v1/runs/{run_id}/stream"))

    def lines(self) -> Iterator[tuple[str, int]]:
        """Each line, and when it came (monotonic, ns)."""
        left = b""
        while data := self._socket.recv(_CHUNK):
            at = time.monotonic_ns()
            *whole, left = (left + data).split(b"\n")
            for line in whole:
                if line.startswith(b"data: {"):
                    event = _decode(line[6:])
                    if event.event == "log":
                        yield event.data.message, at
                elif line.startswith(b"data: [DONE]"):
                    return
        raise LoadError("A stream ended before its run.")

    def close(self) -> None:
        self._socket.close()
