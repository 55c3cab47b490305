"""A process that stands still in the middle of a transaction must not keep from others what it has locked."""

import asyncio
import time

from outlast.engine import Engine
from outlast.runs import RunState
from outlast.store.postgres.connection import Address, connect
from tests.runs_factory import ME, submit
from tests.store.conftest import Either

STORES = ("postgres",)
SHORTEST_LEASE_S = 3.0


async def test_a_run_locked_by_a_process_that_says_nothing_is_free_within_a_lease(
    engine: Engine, either: Either
) -> None:
    run = await submit(engine)
    assert either.url is not None
    silent = await connect(Address(either.url))
    await silent.execute("BEGIN")
    await silent.fetch("SELECT 1 FROM outlast.runs WHERE id = $1 FOR UPDATE", run.id)
    began = time.monotonic()

    cancelled = await asyncio.wait_for(engine.cancel(ME, run.id), 20)

    assert cancelled.state is RunState.CANCELLED
    assert time.monotonic() - began < SHORTEST_LEASE_S
    silent.terminate()
