"""Makes requests that are wrong as HTTP, out of a seed: heads that do not end, lengths that lie, noise."""

import json
import random
from collections.abc import Callable

HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"
SUBMIT = b"POST /api/v1/runs HTTP/1.1\r\n" + HEAD
BODY = json.dumps({"prompt": "Hello, ü 🦜", "framework": "echo", "metadata": {"a": [1, "b"]}}).encode()
GOOD = SUBMIT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
LOOK = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = SUBMIT + b"Transfer-Encoding: chunked\r\n\r\n"
METHODS = [
    b"get", b"GETT", b"G", b"PRI", b"CONNECT", b"TRACE", b"OPTIONS", b"M-SEARCH", b"PROPFIND", b"LINK",
    b"QUERY", b"", b"\x00", b"G\x00ET", b"GET\t", b" GET", b"P\xc3\x96ST", b"SOURCE", b"X" * 9000,
    b"DELETE", b"PUT", b"PATCH", b"HEAD",
]  # fmt: skip
TARGETS = [
    b"*", b"", b"/", b"//", b"///api//v1//runs", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/", b"/%00",
    b"/\x00", b"/%", b"/%zz", b"/%ff", b"/\xff\xfe", b"/api/v1/runs/%ed%a0%80",
    b"/api/v1/runs/\xf0\x9f\xa6\x9c", b"http://", b"http://[::1", b"a:80", b"http://localhost/health",
    b"https://localhost:99999/health", b"localhost:8005", b"?", b"/?" + b"&" * 500, b"/#x", b"\\",
    b"/api/v1/runs?page=%00", b"/api/v1/runs?status=%ff", b"/api/v1/runs/run_x/stream?after=1e9",
    b"/" + b"a/" * 3000, b"/" + b"x" * 70_000, b"/health ", b"/health\tx", b"/api/v1/runs/" + b"%41" * 5000,
    b"/api/v1/runs/run_1/result/raw/..",
]  # fmt: skip
VERSIONS = [b"1.1"] * 6 + [
    b"1.0",
    b"0.9",
    b"2.0",
    b"1.2",
    b"11",
    b"9.9",
    b"1.1.1",
    b"x",
    b"",
    b"1.1 x",
    b"-1.1",
    b"\x00",
]
FIELDS = [
    b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 0x10", b"Content-Length: 5, 5",
    b"Content-Length: ", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 99999999999999999999999", b"Content-Length: 1e3",
    b"Content-Length: 18446744073709551616", b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Content-Length: \xb2", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Expect: 100-continue", b"Expect: 200-ok",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA",
    b"Host: \x00", b"Host:", b"Host: a b", b"Host: [::1", b"Host: " + b"a" * 9000, b"No colon here",
    b": no name", b" folded", b"X\x00: y", b"X: y\x00z", b"X: \xff\xfe", b"X : space before colon",
    b"\xc3\xbc: y", b"X: a\r\n b", b"X: a\nY: b", b"X: a\rY: b", b"X: " + b"y" * 70_000,
    b"\r\n".join(b"X-%d: y" % n for n in range(3000)), b"Content-Encoding: gzip", b"Idempotency-Key: \xff",
    b"Idempotency-Key: " + b"k" * 300, b"Last-Event-ID: \xd9\xa3", b"Connection: \x00", b"Range: bytes=",
    b"Prefer: wait=" + b"9" * 400, b"Content-Type: application/json; charset=utf-16",
    b"Authorization: Bearer \xff",
]  # fmt: skip
CHUNKS = [
    b"zz\r\n", b"-1\r\n\r\n", b"5\r\nhello", b"5\r\nhello\r\n", b"5\nhello\n0\n\n", b"ffffffffffffffff\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nx", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"e=f;" * 20_000 + b"\r\nhello\r\n0\r\n\r\n", b"\r\n\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n",
    b"0\r\n" + b"T: x\r\n" * 4000 + b"\r\n", b"1\r\n{\r\n" * 2000 + b"0\r\n\r\n", b"0\r\n\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n", b"0" * 70_000 + b"\r\n\r\n",
    b"5\r\n\x00\x00\x00\x00\x00\r\n0\r\n\r\n", b"5\r\n\xff\xfe{}\x80\r\n0\r\n\r\n",
]  # fmt: skip
BODIES = [
    b"[" * 100_000, b'{"prompt":' * 50_000,
    b'{"prompt":"x","metadata":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
    b'{"prompt":"x","config":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", b'"' + b"\\" * 99_999,
    b'{"prompt":"\xff\xfe"}', b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":"\\ud800"}',
    b'{"prompt":"\\u0000"}', b'{"prompt":"x"}{"prompt":"y"}', b"\x00" * 5000,
    b'{"prompt":"x","prompt":null}', b"\xef\xbb\xbf" + BODY, BODY.decode().encode("utf-16"), b"1" * 100_000,
    b"-", b"1e999999", b"", b'{"prompt":"x","timeout":' + b"9" * 50_000 + b"}",
    b'{"prompt":"x","\xc0\xaf":1}', b"null", b"NaN", b"'prompt'", b"prompt=x",
    b'{"prompt":"x","session_id":"\\u0000"}', b'{"prompt":"x",' + b'"timeout":1,' * 5000 + b'"timeout":2}',
]  # fmt: skip


class Malformed:
    """One bad request after another; each is whole, broken off, or followed by more."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds: list[Callable[[], bytes]] = [
            self._line,
            self._field,
            self._chunks,
            self._body,
            self._length,
            self._half,
            self._bent,
            self._noise,
            self._pipeline,
        ]

    def request(self) -> bytes:
        return self._random.choice(self._kinds)()

    def is_left_open(self) -> bool:
        """Whether its sender keeps its side open, waiting, instead of saying that this was all."""
        return self._random.random() < 0.3

    def _line(self) -> bytes:
        choose = self._random.choice
        method = choose(METHODS + [b"GET", b"POST"] * 10)
        return method + b" " + choose(TARGETS) + b" HTTP/" + choose(VERSIONS) + b"\r\n" + HEAD + b"\r\n"

    def _field(self) -> bytes:
        fields = b"\r\n".join(self._random.choices(FIELDS, k=self._random.choice([1, 1, 2])))
        return self._random.choice([SUBMIT, LOOK[:-2]]) + fields + b"\r\n\r\n" + BODY

    def _chunks(self) -> bytes:
        return CHUNKED + self._random.choice(CHUNKS)

    def _body(self) -> bytes:
        body = self._random.choice(BODIES)
        return SUBMIT + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def _length(self) -> bytes:
        wrong = max(0, len(BODY) + self._random.choice([-50, -5, -1, 1, 5, 5000, 2**24, 2**40]))
        return SUBMIT + b"Content-Length: %d\r\n\r\n" % wrong + BODY

    def _half(self) -> bytes:
        return GOOD[: self._random.randrange(len(GOOD))]

    def _bent(self) -> bytes:
        bent = bytearray(GOOD)
        for _ in range(self._random.choice([1, 1, 2, 5, 20])):
            bent[self._random.randrange(len(bent))] = self._random.randrange(256)
        return bytes(bent)

    def _noise(self) -> bytes:
        start = self._random.choice(
            [b"", b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        )
        return start + self._random.randbytes(self._random.choice([1, 20, 500, 100_000]))

    def _pipeline(self) -> bytes:
        parts = [self._random.choice([LOOK, GOOD]) for _ in range(self._random.choice([2, 20, 100]))]
        parts.insert(
            self._random.randrange(len(parts)), self.request() if self._random.random() < 0.8 else b""
        )
        return b"".join(parts)
