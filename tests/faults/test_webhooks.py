"""A webhook survives the death of the process that was sending it."""

import asyncio
import sys
from pathlib import Path

from outlast.clock import FakeClock, SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.store.sqlite import SqliteStore
from outlast.webhooks.deliver import Deliverer
from tests import invariants
from tests.webhooks.receiver import hang, receiver, status

CLAIM_S = 60
"""A delivery of a process that died is due again after this time."""


async def test_a_webhook_cut_by_a_kill_arrives_again_under_the_same_id(tmp_path: Path) -> None:
    async with receiver(hang, status(200)) as here:
        await _kill_while_sending(tmp_path, here.url, asyncio.create_task(here.until(1)))

        clock = FakeClock(SystemClock().now() + CLAIM_S * 1000)
        store = SqliteStore(tmp_path, clock)
        await store.open()
        engine = Engine(store, clock)
        deliverer = Deliverer(engine, Settings(webhook_allow=("127.0.0.1",)), clock)
        delivering = asyncio.create_task(deliverer.run())
        first, second = await here.until(2)
        await deliverer.stop()
        await delivering

        assert await engine.outbox.next_at() is None
        await store.close()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert (first.headers["webhook-attempt"], second.headers["webhook-attempt"]) == ("1", "2")
    invariants.check(store.path)


async def _kill_while_sending(folder: Path, url: str, arrived: "asyncio.Task[object]") -> None:
    command = (sys.executable, "-m", "tests.faults.webhook_sender", str(folder), url)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await arrived
    finally:
        process.kill()
        await process.wait()
