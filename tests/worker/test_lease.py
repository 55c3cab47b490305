"""The lease of a worker that stood still, or whose store is away: it is over for us before it is for the store."""

import asyncio
from pathlib import Path

import pytest

from outlast.clock import Clock, FakeClock, SystemClock
from outlast.engine import Engine
from outlast.runs import RunState
from outlast.store.protocol import Claimed, Offer
from outlast.store.sqlite import SqliteStore
from outlast.worker.janitor import Beater
from outlast.worker.lease import Lease
from outlast.workers import WorkerCard
from tests.worker.conftest import Bench, until

LEASE_S = 9.0


class Holder:
    """A lease, what renews it in a store of its own, and what was said of it."""

    def __init__(self, folder: Path, clock: Clock, lease_s: float) -> None:
        self.store = SqliteStore(folder, clock)
        self.heard: list[bool] = []
        self.lease = Lease(clock, lease_s)
        engine = Engine(self.store, clock)
        self.beater = Beater(engine, self.lease, clock, lambda: "wrk_1", WorkerCard, self.heard.append)


async def _holder(folder: Path, clock: Clock, lease_s: float = LEASE_S) -> Holder:
    holder = Holder(folder, clock, lease_s)
    await holder.store.open()
    assert await holder.beater.beat()
    return holder


async def test_a_worker_that_stood_still_gives_its_lease_up_before_it_asks(
    tmp_path: Path, clock: FakeClock
) -> None:
    holder = await _holder(tmp_path, clock)

    clock.advance(LEASE_S)

    assert not holder.lease.is_held
    assert not await holder.beater.beat()
    assert holder.heard == [True, False, False]
    await holder.store.close()


async def test_a_worker_that_stood_still_gives_its_lease_up_also_while_the_store_is_away(
    tmp_path: Path, clock: FakeClock
) -> None:
    holder = await _holder(tmp_path, clock)
    await holder.store.close()

    clock.advance(LEASE_S)

    assert not await holder.beater.beat()
    assert holder.heard == [True, False]


async def test_a_lease_that_cannot_be_renewed_is_given_up_before_its_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    holder = await _holder(tmp_path, clock)
    await holder.store.close()

    clock.advance(LEASE_S / 2)
    assert not await holder.beater.beat()
    assert holder.lease.left_s == LEASE_S / 2
    clock.advance(LEASE_S / 2 - 2)
    assert not await holder.beater.beat()

    assert not holder.lease.is_held
    assert holder.heard == [True, False]


async def test_what_was_claimed_under_a_lease_that_is_over_is_not_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_id, claim = bench.worker.id, bench.engine.claim
    claimed, go_on = asyncio.Event(), asyncio.Event()

    async def slow(offer: Offer) -> list[Claimed]:
        found = await claim(offer)
        if found and offer.worker_id == worker_id:
            claimed.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(bench.engine, "claim", slow)
    run_id = await bench.submit("echo")
    await asyncio.wait_for(claimed.wait(), 20)
    await bench.engine.beat(worker_id, -1.0)
    await until(lambda: bench.worker.id != worker_id, 20, "the lease to be found lost")
    go_on.set()
    run = await bench.ended(run_id)

    assert run.state is RunState.SUCCEEDED
    assert run.attempt == 2
    assert len(bench.access.granted) == 1


async def test_one_connection_that_has_gone_silent_does_not_cost_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await _holder(tmp_path, SystemClock(), lease_s=2)
    beat, asked = holder.store.beat, [0]

    async def once_silent(worker_id: str, lease_ms: int, card: bytes = b"{}") -> bool:
        asked[0] += 1
        if asked[0] == 1:
            await asyncio.sleep(60)
        return await beat(worker_id, lease_ms, card)

    monkeypatch.setattr(holder.store, "beat", once_silent)
    beating = asyncio.create_task(holder.beater.run())
    await until(lambda: asked[0] == 3, 10, "the lease to be renewed")
    beating.cancel()

    assert holder.heard == [True]
    await holder.store.close()
