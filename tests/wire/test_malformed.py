"""Five hundred requests that are hardly HTTP, over raw sockets: none breaks, stalls or fattens the server."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.live import Live
from tests.wire.conftest import started
from tests.wire.malformed import CHUNKED, GOOD, LOOK, SUBMIT, Malformed

MANY = 500
AT_ONCE = 20
SEED = 20_261_122
ANSWER_S = 20.0
"""Longer than the server's own patience with a body or a head that does not come."""
LOOK_S = 2.0
GROWTH_MAX_MB = 48
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


class Answer(msgspec.Struct, frozen=True):
    """What came back before the server closed the connection."""

    request: bytes
    statuses: list[int]
    closed: bool


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with started(tmp_path_factory.mktemp("malformed"), None, {}) as live:
        yield live


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_five_hundred_malformed_requests_leave_the_server_as_it_was(live: Live) -> None:
    malformed, free = Malformed(SEED), asyncio.Semaphore(AT_ONCE)
    requests = [(malformed.request(), malformed.is_left_open()) for _ in range(MANY)]
    await asyncio.gather(*(_send(live, b"GET /stats HTTP/1.0\r\n\r\n") for _ in range(AT_ONCE)))  # warm
    pid, before = live.pid, _resident_mb(live.pid)

    async def send(request: bytes, left_open: bool) -> Answer:
        if left_open:  # these wait for the server's patience to end, all at the same time
            return await _send(live, request, left_open=True)
        async with free:
            return await _send(live, request)

    sending = asyncio.gather(*(send(*request) for request in requests))
    slowest = await _health_meanwhile(live, sending)

    answers = await sending
    assert [a for a in answers if any(status >= 500 for status in a.statuses)] == []
    assert [a.request[:200] for a in answers if not a.closed] == []
    assert sum(any(400 <= status < 500 for status in a.statuses) for a in answers) > MANY / 4
    assert slowest < LOOK_S
    assert (live.pid, live.ready()) == (pid, True)
    assert _resident_mb(pid) - before < GROWTH_MAX_MB
    assert "Traceback" not in live.log.read_text()


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (LOOK[:-2], b"X-More: and more\r\n"),
        (LOOK[:-2] + b"X-Long: ", b"y" * 64),
        (b"GET /", b"y" * 64),
        (b"", b"\r\n"),
        (CHUNKED + b"5;", b"extension=1;"),
        (CHUNKED + b"0\r\n", b"X-Trailer: 1\r\n"),
        (CHUNKED, b"1\r\na\r\n"),
        (SUBMIT + b"Content-Length: 999999999999\r\n\r\n", b"y" * 64),
        (b"", LOOK),
    ],
    ids=["fields", "field", "target", "blank lines", "extension", "trailers", "chunks", "body", "requests"],
)
async def test_what_never_ends_costs_no_memory(live: Live, head: bytes, again: bytes) -> None:
    before = _resident_mb(live.pid)
    _, writer = await asyncio.open_connection("127.0.0.1", live.port)
    part = again * (65_536 // len(again))

    try:
        writer.write(head)
        for _ in range(16 * 2**20 // len(part)):
            writer.write(part)
            async with asyncio.timeout(3):  # as much as is taken: of what is left unread, nothing
                await writer.drain()
    except (ConnectionError, TimeoutError):
        pass

    assert live.http.get("/health").status_code == 200
    assert _resident_mb(live.pid) - before < GROWTH_MAX_MB
    writer.transport.abort()


async def test_what_comes_broken_after_a_good_request_is_not_answered_in_its_place(live: Live) -> None:
    answer = await _send(live, GOOD + b"\x00", left_open=True)

    assert answer.closed
    assert answer.statuses[:1] != [400]


async def _send(live: Live, request: bytes, *, left_open: bool = False) -> Answer:
    """Send it, and read until the server closes, or keeps the connection open for a next request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    got = bytearray()
    closed = True
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(request)
            if not left_open:
                writer.write_eof()
            while data := await reader.read(65_536):
                got += data
    except ConnectionError:
        pass
    except TimeoutError:
        closed = bool(got)  # answered, and kept open for a next request
    finally:
        writer.transport.abort()
    return Answer(request, [int(status) for status in STATUS.findall(got)], closed)


async def _health_meanwhile(live: Live, sending: "asyncio.Future[list[Answer]]") -> float:
    """Ask for /health until all is sent; how long the slowest answer took."""
    slowest, now = 0.0, asyncio.get_running_loop().time
    async with httpx.AsyncClient(base_url=live.url, timeout=ANSWER_S, trust_env=False) as http:
        while not sending.done():
            since = now()
            assert (await http.get("/health")).status_code == 200
            slowest = max(slowest, now() - since)
            await asyncio.wait([sending], timeout=0.1)
    return slowest


def _resident_mb(pid: int) -> float:
    """What the process holds in memory."""
    line = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert line is not None
    return int(line[1]) / 1024
