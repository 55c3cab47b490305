"""A process that finishes one run and delivers its webhook: `python -m tests.faults.webhook_sender FOLDER URL`."""

import asyncio
import sys
from pathlib import Path

from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.store.sqlite import SqliteStore
from outlast.webhooks.deliver import Deliverer
from tests.runs_factory import new_run, running


async def main(folder: str, url: str) -> None:
    clock = SystemClock()
    store = SqliteStore(Path(folder), clock)
    await store.open()
    engine = Engine(store, clock)
    run, attempt_id = await running(engine, new_run(webhook_url=url))
    await engine.succeed(run, attempt_id, b'"done"')
    await Deliverer(engine, Settings(webhook_allow=("127.0.0.1",)), clock).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
