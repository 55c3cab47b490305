"""Bodies that are too large, too slow or never end; readers that do not read."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from outlast.api import http, protocol
from outlast.api.body import Limits
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver
from tests.api.waiting import until

STORES = ("sqlite",)
URL = "/api/v1/runs"
JSON = {"content-type": "application/json"}
HEAD = b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SMALL = Limits(max_bytes=1000, pause_s=0.2, whole_s=0.6)


def _body(size: int) -> bytes:
    return b'{"prompt":"' + b"x" * (size - 13) + b'"}'


async def test_a_body_up_to_the_limit_is_taken_and_one_byte_more_is_413(serve: Serve) -> None:
    served = await serve(limits=SMALL)

    fits = await served.http.post(URL, content=_body(1000), headers=JSON)
    larger = await served.http.post(URL, content=_body(1001), headers=JSON)

    assert fits.status_code == 202
    assert larger.status_code == 413
    assert larger.json()["code"] == "body_too_large"
    assert "1000" in larger.json()["detail"]


async def test_a_chunked_body_is_counted_too(serve: Serve) -> None:
    served = await serve(limits=SMALL)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, 1001, 100):
            yield _body(1001)[start : start + 100]

    answer = await served.http.post(URL, content=pieces(), headers=JSON)

    assert answer.status_code == 413


async def test_ten_mebibytes_are_the_limit_out_of_the_box(served: Served) -> None:
    limit = 10 * 1024 * 1024

    fits = await served.http.post(URL, content=_body(limit), headers=JSON)
    larger = await served.http.post(URL, content=_body(limit + 1), headers=JSON)

    assert (fits.status_code, larger.status_code) == (202, 413)


async def test_a_client_that_asks_first_is_told_before_it_sends(serve: Serve) -> None:
    served = await serve(limits=SMALL)
    sent = HEAD + b"Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n"

    answer = await talk(served, sent)

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_an_endless_body_is_cut(serve: Serve) -> None:
    served = await serve(limits=SMALL)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

    async def feed() -> None:
        while True:
            writer.write(b"100\r\n" + b"x" * 256 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    feeding = asyncio.create_task(feed())
    async with asyncio.timeout(10):
        answer = await reader.read(20)
    feeding.cancel()
    writer.transport.abort()
    with suppress(asyncio.CancelledError, ConnectionError):
        await feeding

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("sent", [b"", b'{"prompt": '])
async def test_a_body_that_stops_is_408_and_the_connection_closed(serve: Serve, sent: bytes) -> None:
    served = await serve(limits=SMALL)

    answer = await talk(served, HEAD + b"Content-Length: 100\r\n\r\n" + sent)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert b"request_timeout" in answer


async def test_a_body_that_drips_is_408_in_the_end(serve: Serve) -> None:
    served = await serve(limits=SMALL)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n")
    began = time.monotonic()

    answer = b""
    while not answer:
        writer.write(b" ")
        try:
            answer = await asyncio.wait_for(reader.read(20), 0.05)
        except TimeoutError:
            assert time.monotonic() - began < 5

    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
async def test_half_a_head_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_DEADLINE_S", 0.1)

    answer = await talk(served, sent)

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_half_a_head_after_a_whole_request_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_DEADLINE_S", 0.1)

    answer = await talk(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


async def test_a_head_without_end_is_cut(served: Served) -> None:
    endless = b"GET /health HTTP/1.1\r\nX-Large: ".ljust(protocol.MAX_HEAD_BYTES + 1, b"x")

    answer = await talk(served, endless)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_an_open_connection_outlives_the_deadline_of_its_first_head(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_DEADLINE_S", 0.05)
    job_id = await served.submit()

    answer = await served.http.get(f"{URL}/{job_id}?wait=0.3")

    assert answer.status_code == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HEAD + b'Content-Length: 100\r\n\r\n{"prompt"')
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await served.http.get("/stats")).json()["total_jobs"] == 0


async def test_a_reader_that_does_not_read_is_dropped(
    served: Served, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SEND_DEADLINE_S", 0.2)
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
    writer.write(f"GET {URL}/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until(lambda: job_id in served.engine.wakeups.watches, "the stream to be open")

    for _ in range(20):
        await driver.log(run, attempt_id, *("x" * 10_000 for _ in range(100)))

    await until(lambda: job_id not in served.engine.wakeups.watches, "the stream to be dropped", 10)
    async with asyncio.timeout(5):
        while await reader.read(1024 * 1024):
            pass
    writer.close()


async def talk(served: Served, sent: bytes) -> bytes:
    """What the server says to these bytes before it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer
