"""A load generator that costs the machine little: one epoll loop, requests built once as bytes, replies barely read.

All servers get the same one. It never measures a mistake: a reply that is not what was asked for ends the bench.
"""

import gc
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 32 * 1024
"""More would make each receive map and unmap memory."""
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class LoadError(Exception):
    """A server did not answer as it should, so what was measured means nothing."""


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """In the order of their arrival; kept only if asked for."""

    @property
    def rate(self) -> float:
        """Replies a second."""
        return len(self.latencies_ns) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency that `percent` of the replies did not exceed."""
        return percentile(self.latencies_ns, percent) / 1e6


def percentile(values: list[int], percent: float) -> int:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def get(path: str) -> bytes:
    """A GET as bytes on the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A POST of JSON as bytes on the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's own timeout; Python's would cost a poll before each call.
        self.socket.settimeout(None)
        wait = struct.pack("ll", int(timeout_s), 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        self.sent_at = 0
        self._missing = -1
        """Bytes of the body yet to come; -1 while the head is not complete."""
        self._parts: list[bytes] = []

    def send(self, request: bytes) -> None:
        self.sent_at = time.monotonic_ns()
        self.socket.sendall(request)

    def receive(self, expected: bytes) -> bytes | None:
        """Read what is there: the reply's body once it is whole, None before."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise LoadError("The server closed a connection in mid-run.")
        if self._missing < 0:
            return self._begin(data, expected)
        return self._go_on(data)

    def ask(self, request: bytes, expected: bytes) -> bytes:
        """Send and wait for the whole reply."""
        self.send(request)
        while (body := self.receive(expected)) is None:
            pass
        return body

    def close(self) -> None:
        self.socket.close()

    def _begin(self, data: bytes, expected: bytes) -> bytes | None:
        data = b"".join([*self._parts, data])
        self._parts.clear()
        end = data.find(_HEAD_END)
        if end < 0:
            self._parts.append(data)
            return None
        if data[9:12] != expected:
            raise LoadError(f"Expected {expected.decode()}, got: {data[:600].decode(errors='replace')}")
        body = data[end + 4 :]
        self._missing = _content_length(data[:end])
        return self._go_on(body)

    def _go_on(self, data: bytes) -> bytes | None:
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return None
        body = b"".join(self._parts) if len(self._parts) > 1 else data
        self._parts.clear()
        self._missing = -1
        return body


def drive(
    port: int,
    requests: Iterator[bytes],
    *,
    expected: int,
    connections: int = 32,
    for_s: float = 30.0,
    keep: bool = False,
) -> Load:
    """Send `requests`, one at a time on each connection, until they are used up or `for_s` have passed."""
    pool = [Connection(port) for _ in range(connections)]
    gc.collect()
    gc.disable()  # a collection in here would be counted as the server's latency
    try:
        return _drive(pool, requests, b"%d" % expected, for_s, keep)
    finally:
        gc.enable()
        for connection in pool:
            connection.close()


def _drive(
    pool: list[Connection], requests: Iterator[bytes], expected: bytes, for_s: float, keep: bool
) -> Load:
    load = Load()
    latencies = load.latencies_ns
    by_fd = {connection.socket.fileno(): connection for connection in pool}
    started = time.monotonic_ns()
    stop_at = started + int(for_s * 1e9)
    under_way = 0
    with select.epoll() as epoll:
        for fd, connection in by_fd.items():
            if (request := next(requests, None)) is not None:
                epoll.register(fd, select.EPOLLIN)
                connection.send(request)
                under_way += 1
        while under_way:
            ready = epoll.poll(30.0)
            if not ready:
                raise LoadError("The server sent nothing for 30 seconds.")
            for fd, _ in ready:
                connection = by_fd[fd]
                body = connection.receive(expected)
                if body is None:
                    continue
                now = time.monotonic_ns()
                latencies.append(now - connection.sent_at)
                if keep:
                    load.bodies.append(body)
                if now < stop_at and (request := next(requests, None)) is not None:
                    connection.send(request)
                else:
                    under_way -= 1
    load.seconds = (time.monotonic_ns() - started) / 1e9
    return load


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(_LENGTH)
    if at < 0:
        raise LoadError(f"No Content-Length in: {head[:600].decode(errors='replace')}")
    end = lower.find(b"\r\n", at)
    return int(lower[at + len(_LENGTH) : end if end >= 0 else None])
