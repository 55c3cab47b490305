"""Requests that nobody means well with: answered with a 4xx, soon, and the server goes on."""

import asyncio
import json
import random
import string

import pytest

from outlast.api.schemas import SubmitBody
from tests.api.conftest import Served

MANY = 500
AT_ONCE = 10
SEED = 20261122
FIELDS = SubmitBody.__struct_fields__
PATHS = [
    "/api/v1/runs", "/api/v1/runs/{id}", "/api/v1/runs/{id}/result", "/api/v1/runs/{id}/result/raw",
    "/api/v1/runs/{id}/cancel", "/api/v1/runs//cancel", "/api/v1/runs/../../etc/passwd", "/api/v1/runs/%2e%2e/x",
    "/api/v1/runs/%00", "/api/v1/runs/%ff%fe/result", "/health", "/ready", "/stats", "/docs", "//", "/%",
    "/api/v1/RUNS",
]  # fmt: skip
QUERIES = [
    "page", "page_size", "cursor", "status", "session_id", "agent", "framework", "wait", "after", "named", "tokens",
]  # fmt: skip
HEADERS = [
    "Idempotency-Key", "Prefer", "Last-Event-ID", "Range", "If-Range", "Authorization", "X-API-Key", "Host",
    "Content-Type", "Content-Encoding", "X-Forwarded-For", "X-Forwarded-Proto", "Origin", "Cookie", "Accept",
]  # fmt: skip
WORDS = [
    b"", b"0", b"-1", b"1e400", b"NaN", b"9223372036854775808", b"9" * 400, b"null", b"true", b"\x00", b"\xff\xfe",
    b"%00", b"\xed\xa0\x80", "٣".encode(), "🦜".encode(), b"a" * 300, b"a" * 5000, b"../../etc/passwd",
    b"' OR 1=1 --", b"{{7*7}}", b"bytes=0-", b"bytes=--1", b"wait=nan", b"wait=,,=", b"run_", b"<script>", b"\\ud800",
    b"application/json;;=;charset",
]  # fmt: skip


class Attacker:
    """Makes one bad request after another out of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self, job_id: str) -> bytes:
        """A whole HTTP request, well-formed enough to reach the API most of the time."""
        choose = self.random.choice
        method = choose(
            ["POST"] * 12 + ["GET"] * 3 + ["DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO"]
        )
        path = "/api/v1/runs" if method == "POST" and self.random.random() < 0.8 else choose(PATHS)
        query = "&".join(
            f"{choose(QUERIES)}={self._in_url(choose(WORDS))}" for _ in range(choose([0, 0, 1, 3]))
        )
        target = path.replace("{id}", choose([job_id, "run_x", "x" * 3000])) + (f"?{query}" if query else "")
        body = self.body() if method in ("POST", "PUT", "PATCH") else b""
        headers = [b"Host: localhost", b"Connection: close", b"Content-Length: %d" % len(body)]
        if self.random.random() < 0.9:
            headers.append(b"Content-Type: application/json")
        for _ in range(choose([0, 0, 0, 1, 2])):
            headers.append(choose(HEADERS).encode() + b": " + self._in_header(choose(WORDS)))
        return f"{method} {target} HTTP/1.1\r\n".encode() + b"\r\n".join(headers) + b"\r\n\r\n" + body

    def body(self) -> bytes:
        """A body: a good one with something broken in it, a wrong value in a field, or noise."""
        good = json.dumps({"prompt": "Hello", "framework": "echo", "metadata": {"a": [1, "b"]}}).encode()
        match self.random.randrange(5):
            case 0:
                at = self.random.randrange(len(good))
                return good[:at] + self.random.choice(WORDS) + good[at + self.random.randrange(4) :]
            case 1:
                return good[: self.random.randrange(len(good))]
            case 2:
                return self.random.randbytes(self.random.randrange(200))
            case _:
                return self._with_wrong_field()

    def _with_wrong_field(self) -> bytes:
        value = json.dumps(self.value(3))
        field = self.random.choice([*FIELDS, "nonsense"])
        known = '"prompt": "Hello", "framework": "echo"'
        return f'{{{known}, "{field}": {value}}}'.encode("utf-8", "surrogatepass")

    def value(self, depth: int) -> object:
        """Any JSON value, and some that are none."""
        choose = self.random.choice
        match self.random.randrange(8 if depth else 5):
            case 0:
                return choose(
                    [0, -1, 2**31, 2**63, -(2**70), 10**400, 1.5, 1e308, float("nan"), float("inf")]
                )
            case 1:
                return choose([None, True, False, "", " ", "\x00", "\ud800", "🦜", "x" * 5000, "\u2028"])
            case 2:
                return "".join(self.random.choices(string.printable, k=self.random.randrange(60)))
            case 3:
                return choose(
                    ["http://[", "https://a:b@c", "ftp://x", "../x.yaml", "/etc/passwd", "\\\\host\\x"]
                )
            case 4:
                return choose(["echo", "crewai", "function", "session", "none", "builtin", "x\0y"])
            case 5 | 6:
                return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
            case _:
                return {str(self.value(0)): self.value(depth - 1) for _ in range(self.random.randrange(4))}

    def _in_url(self, word: bytes) -> str:
        return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in word)

    def _in_header(self, word: bytes) -> bytes:
        return word.replace(b"\x00", b"")


async def test_five_hundred_malformed_requests_never_break_the_server(served: Served) -> None:
    attacker = Attacker(SEED)
    job_id = await served.submit()
    requests = [attacker.request(job_id) for _ in range(MANY)]
    free = asyncio.Semaphore(AT_ONCE)

    async def send(request: bytes) -> int:
        async with free, asyncio.timeout(20):
            return await _status_of(served, request)

    statuses = await asyncio.gather(*(send(request) for request in requests))

    bad = [
        (status, request[:200]) for status, request in zip(statuses, requests, strict=True) if status >= 500
    ]
    assert not bad
    assert sum(400 <= status < 500 for status in statuses) > MANY / 2
    assert (await served.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/v1/runs HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/runs HTTP/1.0\r\n\r\n",
        b"GET http://evil.example/api/v1/runs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_hardly_http_is_turned_away(served: Served, request_bytes: bytes) -> None:
    async with asyncio.timeout(20):
        status = await _status_of(served, request_bytes)

    assert status < 500


async def _status_of(served: Served, request: bytes) -> int:
    """The status of the answer; 400 for a connection that was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        writer.write(request)
        head = await reader.readline()
        while await reader.read(65_536):
            pass
        return int(head.split()[1]) if head else 400
    except ConnectionError:
        return 400
    finally:
        writer.close()
