"""The deliverer on a real store, against real receivers."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
from ssrfguard import Resolver
from standardwebhooks import Webhook

import outlast
from outlast.clock import FakeClock, iso
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import ConfigError, StoreUnavailable
from outlast.outbox import Outbox
from outlast.runs import Draft, EventKind, RunError, Usage
from outlast.store.sqlite import SqliteStore
from outlast.webhooks.deliver import JITTER, RECEIVER_MAX, Deliverer
from tests.runs_factory import ME, new_run, running, submit
from tests.webhooks.receiver import (
    Answer,
    drip_body,
    drip_head,
    eventually,
    flood,
    hang,
    receiver,
    status,
)

SCHEDULE = (1.0, 5.0)


@asynccontextmanager
async def delivering(
    engine: Engine,
    clock: FakeClock,
    *,
    allow: str = "127.0.0.1",
    secret: str | None = None,
    resolver: Resolver | None = None,
    try_s: float = 5,
    last_s: float = 5,
) -> AsyncIterator[Deliverer]:
    settings = Settings(webhook_allow=(allow,), webhook_retry=SCHEDULE, webhook_secret=secret)
    deliverer = Deliverer(engine, settings, clock, resolver=resolver, try_s=try_s, last_s=last_s)
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        await deliverer.stop()
        await task


async def owe(engine: Engine, url: str, result: bytes = b'"done"') -> str:
    """A succeeded run whose webhook is owed to `url`; its id."""
    run, attempt_id = await running(engine, new_run(webhook_url=url))
    await engine.succeed(run, attempt_id, result)
    return run.id


async def until_settled(engine: Engine, clock: FakeClock) -> int | None:
    """Wait until no delivery is in flight; when the next is due, as seconds from now."""
    seen: list[int | None] = []

    async def look() -> None:
        claim_ends = clock.now() + 60_000
        while True:
            due_at = await engine.outbox.next_at()
            if due_at is None or clock.now() < due_at != claim_ends:
                seen.append(due_at)
                return
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), 10)
    return seen[0]


def wait_of(due_at: int | None, clock: FakeClock) -> float:
    assert due_at is not None
    return (due_at - clock.now()) / 1000


def move_to(due_at: int | None, engine: Engine, clock: FakeClock) -> None:
    """Let the time of the next try come."""
    clock.advance(wait_of(due_at, clock))
    engine.wakeups.outbox.ring()


async def test_a_finished_run_is_told_with_all_its_fields(engine: Engine, clock: FakeClock) -> None:
    async with receiver() as here, delivering(engine, clock):
        run, attempt_id = await running(engine, new_run(webhook_url=here.url, session_id="s"))
        call = Draft(EventKind.MODEL_CALL, b"{}")
        await engine.record_call(run.id, attempt_id, Usage(1, 20, 3, 1_250_000_000), call)
        clock.advance(1.5)
        await engine.succeed(run, attempt_id, b'{"answer": 42}')

        (got,) = await here.until(1)

    assert got.target == "/hook?token=secret"
    assert got.json == {
        "job_id": run.id,
        "status": "succeeded",
        "result": {"answer": 42},
        "duration_seconds": 1.5,
        "created_at": iso(run.created_at),
        "completed_at": iso(clock.now()),
        "usage": {"model_calls": 1, "input_tokens": 20, "output_tokens": 3, "cost_usd": 1.25},
        "session_id": "s",
    }
    assert {name: got.headers[name] for name in got.headers if name.startswith("webhook-")} == {
        "webhook-id": f"msg_{run.id}",
        "webhook-timestamp": str(clock.now() // 1000),
        "webhook-attempt": "1",
    }
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == f"outlast/{outlast.__version__}"
    assert await engine.outbox.next_at() is None


@pytest.mark.parametrize("size", [10, 100_000, 5_000_000])
async def test_a_result_arrives_byte_for_byte(engine: Engine, clock: FakeClock, size: int) -> None:
    result = msgspec.json.encode('ü\n"\\\u2028 \x00' * (size // 10))
    async with receiver() as here, delivering(engine, clock):
        await owe(engine, here.url, result)

        (got,) = await here.until(1)

    assert got.body.endswith(b'"result":' + result + b"}")
    assert msgspec.json.decode(got.body)["result"] == msgspec.json.decode(result)


async def test_a_failed_run_is_told_with_its_error(engine: Engine, clock: FakeClock) -> None:
    async with receiver() as here, delivering(engine, clock):
        run, attempt_id = await running(engine, new_run(webhook_url=here.url))
        await engine.fail(run.id, attempt_id, RunError("timeout", "Out of time."))

        (got,) = await here.until(1)

    told = msgspec.json.decode(got.body)
    assert (told["status"], told["error"], told["error_code"]) == ("failed", "Out of time.", "timeout")
    assert "result" not in told


async def test_a_cancelled_run_is_told(engine: Engine, clock: FakeClock) -> None:
    async with receiver() as here, delivering(engine, clock):
        run = await submit(engine, new_run(webhook_url=here.url))
        await engine.cancel(ME, run.id)

        (got,) = await here.until(1)

    assert msgspec.json.decode(got.body)["status"] == "cancelled"


async def test_a_secret_signs_what_is_sent(engine: Engine, clock: FakeClock) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    async with receiver() as here, delivering(engine, clock, secret=secret):
        await owe(engine, here.url)
        (got,) = await here.until(1)

    at = datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(got.headers["webhook-id"], at, got.body.decode())
    assert got.headers["webhook-signature"] == expected


@pytest.mark.parametrize("answer", [status(500), status(404), status(302, "location: /elsewhere\r\n")])
async def test_a_refusing_receiver_is_tried_by_the_schedule_and_then_given_up(
    engine: Engine, clock: FakeClock, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver(answer) as here, delivering(engine, clock):
        run_id = await owe(engine, here.url)
        for pause_s in SCHEDULE:
            due_at = await until_settled(engine, clock)
            assert pause_s <= wait_of(due_at, clock) <= pause_s * (1 + JITTER) + 0.001
            move_to(due_at, engine, clock)
        assert await until_settled(engine, clock) is None

    assert [(got.target, got.headers["webhook-attempt"]) for got in here.requests] == [
        ("/hook?token=secret", "1"),
        ("/hook?token=secret", "2"),
        ("/hook?token=secret", "3"),
    ]
    assert {got.headers["webhook-id"] for got in here.requests} == {f"msg_{run_id}"}
    assert len({got.body for got in here.requests}) == 1
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "webhook not delivered",
        "webhook not delivered",
        "webhook given up",
    ]


async def test_a_receiver_that_recovers_gets_it(engine: Engine, clock: FakeClock) -> None:
    async with receiver(status(500), status(200)) as here, delivering(engine, clock):
        await owe(engine, here.url)
        move_to(await until_settled(engine, clock), engine, clock)

        await here.until(2)
        assert await until_settled(engine, clock) is None


async def test_a_receiver_that_is_gone_for_good_is_left_alone(engine: Engine, clock: FakeClock) -> None:
    async with receiver(status(410)) as here, delivering(engine, clock):
        await owe(engine, here.url)
        await here.until(1)

        assert await until_settled(engine, clock) is None


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("120", 120),
        (format_datetime(datetime.fromtimestamp(1_800_000_000 + 90, UTC), usegmt=True), 90),
        ("999999999999999999999", 3600),
    ],
)
async def test_a_receiver_may_ask_for_a_pause(
    engine: Engine, clock: FakeClock, code: int, value: str, wait_s: float
) -> None:
    async with receiver(status(code, f"retry-after: {value}\r\n")) as here, delivering(engine, clock):
        await owe(engine, here.url)
        due_at = await until_settled(engine, clock)

    assert wait_of(due_at, clock) == wait_s


@pytest.mark.parametrize("value", ["0", "-5", "soon", "²", "Mon, 99 Foo 99999", "nan"])
async def test_a_pause_that_means_nothing_is_passed_over(
    engine: Engine, clock: FakeClock, value: str
) -> None:
    async with (
        receiver(status(503, f"retry-after: {value}\r\n")) as here,
        delivering(engine, clock),
    ):
        await owe(engine, here.url)
        due_at = await until_settled(engine, clock)

    assert 1 <= wait_of(due_at, clock) <= 1.3


@pytest.mark.parametrize("answer", [hang, drip_head])
async def test_a_receiver_that_does_not_answer_in_time_is_tried_again(
    engine: Engine, clock: FakeClock, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver(answer) as here, delivering(engine, clock, try_s=0.2):
        await owe(engine, here.url)
        due_at = await until_settled(engine, clock)

    assert 1 <= wait_of(due_at, clock) <= 1.3
    assert [
        vars(record)["fields"]["reason"] for record in caplog.records if record.levelno == logging.WARNING
    ] == ["no answer in 0.2 s"]


@pytest.mark.parametrize("answer", [drip_body, flood])
async def test_an_answer_counts_by_its_status_however_long_it_is(
    engine: Engine, clock: FakeClock, answer: Answer
) -> None:
    async with receiver(answer) as here, delivering(engine, clock):
        await owe(engine, here.url)
        await here.until(1)

        assert await until_settled(engine, clock) is None


async def test_a_receiver_that_is_down_is_tried_again(engine: Engine, clock: FakeClock) -> None:
    async with receiver() as here:
        url = here.url
    async with delivering(engine, clock):
        await owe(engine, url)
        due_at = await until_settled(engine, clock)

    assert 1 <= wait_of(due_at, clock) <= 1.3


async def test_a_hanging_receiver_with_a_backlog_delays_no_other(engine: Engine, clock: FakeClock) -> None:
    async with (
        receiver(hang) as stuck,
        receiver() as healthy,
        delivering(engine, clock, try_s=60, last_s=0.1),
    ):
        for _ in range(40):
            await owe(engine, stuck.url)
        await stuck.until(RECEIVER_MAX)
        for _ in range(20):
            await owe(engine, healthy.url)

        await healthy.until(20)

        assert len(stuck.requests) < 2 * RECEIVER_MAX


async def test_a_name_server_that_hangs_delays_no_other(engine: Engine, clock: FakeClock) -> None:
    released = threading.Event()

    def look_up(host: str, port: int, *rest: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if host == "stuck.example":
            released.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with receiver() as here, delivering(engine, clock, resolver=look_up, try_s=0.5):
        try:
            for _ in range(10):
                await owe(engine, f"http://stuck.example:{here.port}/")
            await owe(engine, f"http://fine.example:{here.port}/")
            (got,) = await here.until(1)
            due_at = await until_settled(engine, clock)
        finally:
            released.set()

    assert got.headers["host"] == f"fine.example:{here.port}"
    assert 1 <= wait_of(due_at, clock) <= 1.3


async def test_a_connection_is_used_again_and_no_cookie_kept(engine: Engine, clock: FakeClock) -> None:
    async with receiver(status(200, "set-cookie: a=b\r\n", b"thanks")) as here, delivering(engine, clock):
        for n in range(1, 6):
            await owe(engine, here.url)
            await here.until(n)
            await until_settled(engine, clock)

    assert here.connections == 1
    assert not [got for got in here.requests if "cookie" in got.headers]


async def test_a_name_that_leads_inside_is_tried_again(engine: Engine, clock: FakeClock) -> None:
    async with receiver() as here, delivering(engine, clock, allow="10.9.9.9"):
        await owe(engine, f"http://localhost:{here.port}/hook")
        due_at = await until_settled(engine, clock)

    assert 1 <= wait_of(due_at, clock) <= 1.3
    assert here.connections == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/hook", "http://user@localhost:{port}/", "nothing"])
async def test_a_url_that_is_refused_itself_is_given_up_at_once(
    engine: Engine, clock: FakeClock, url: str
) -> None:
    async with receiver() as here, delivering(engine, clock, allow="10.9.9.9"):
        await owe(engine, url.format(port=here.port))

        assert await until_settled(engine, clock) is None

    assert here.connections == 0


async def test_what_was_owed_before_a_restart_is_delivered(
    engine: Engine, clock: FakeClock, store: SqliteStore
) -> None:
    async with receiver() as here:
        run_id = await owe(engine, here.url)
        await store.close()
        await store.open()
        again = Engine(store, clock)
        async with delivering(again, clock):
            (got,) = await here.until(1)

    assert got.headers["webhook-id"] == f"msg_{run_id}"


async def test_a_stop_lets_a_try_in_flight_finish(engine: Engine, clock: FakeClock) -> None:
    answered = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await status(200)(writer)

    async with receiver(slow) as here, delivering(engine, clock) as deliverer:
        await owe(engine, here.url)
        await here.until(1)
        stopping = asyncio.create_task(deliverer.stop())
        await asyncio.sleep(0)
        answered.set()
        await stopping

    assert await engine.outbox.next_at() is None


async def test_a_stop_puts_back_what_does_not_finish(engine: Engine, clock: FakeClock) -> None:
    async with receiver(hang, status(200)) as here:
        async with delivering(engine, clock, last_s=0.1):
            await owe(engine, here.url)
            await here.until(1)
        assert await engine.outbox.next_at() == clock.now()

        async with delivering(engine, clock):
            first, second = await here.until(2)

    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_store_that_is_away_for_a_moment_loses_nothing(store: SqliteStore, clock: FakeClock) -> None:
    class Wobbly(Outbox):
        """Its store is out of reach at the first look and at the first record."""

        looks = records = 0

        async def next_at(self, busy: Collection[str] = ()) -> int | None:
            self.looks += 1
            if self.looks == 1:
                raise StoreUnavailable("away")
            return await super().next_at()

        async def settle(self, notice_id: str, *, retry_at: int | None = None) -> None:
            self.records += 1
            if self.records == 1:
                raise StoreUnavailable("away")
            await super().settle(notice_id, retry_at=retry_at)

    engine = Engine(store, clock)
    engine.outbox = outbox = Wobbly(store)
    async with receiver() as here, delivering(engine, clock):
        await owe(engine, here.url)
        await here.until(1)
        await eventually(lambda: outbox.records == 1, "the record that fails")
        clock.advance(61)
        engine.wakeups.outbox.ring()
        first, second = await here.until(2)

    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_certificates_that_cannot_be_read_stop_no_deliverer_for_good(
    engine: Engine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    async with receiver() as here, delivering(engine, clock):
        await owe(engine, here.url)
        await eventually(lambda: "webhooks wait; the outbox keeps them" in caplog.messages, "the error")
        monkeypatch.delenv("SSL_CERT_FILE")
        engine.wakeups.outbox.ring()

        await here.until(1)


def test_wrong_settings_are_refused_at_start(tmp_path: Path, clock: FakeClock) -> None:
    engine = Engine(SqliteStore(tmp_path, clock), clock)

    for wrong in (Settings(webhook_allow=("http://x",)), Settings(webhook_secret="whsec_!")):
        with pytest.raises(ConfigError):
            Deliverer(engine, wrong, clock)
