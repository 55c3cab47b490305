"""Two processes' stores on one data folder: the owner's and its guest's."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.births import born
from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.runs import Run, RunState
from outlast.store.protocol import Rung
from outlast.store.sqlite import SqliteStore
from outlast.store.sqlite.heads import Heads
from outlast.store.sqlite.peers import RUNGS_MAX, Peer
from outlast.store.sqlite.turns import MISSED_MAX, Turns
from tests import invariants
from tests.runs_factory import ME, claim, new_run, submit


class Pair:
    """An owner and a guest, each with an engine of its own."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.owner_store = SqliteStore(folder, clock)
        self._folder, self._clock = folder, clock

    async def open(self) -> None:
        await self.owner_store.open()
        end, _ = self.owner_store.admit()
        self.guest_store = SqliteStore(self._folder, self._clock, end)
        await self.guest_store.open()
        self.owner = Engine(self.owner_store, self._clock)
        self.guest = Engine(self.guest_store, self._clock)


@pytest.fixture
async def pair(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Pair]:
    both = Pair(tmp_path, clock)
    await both.open()
    yield both
    await both.guest_store.close()
    await both.owner_store.close()
    invariants.check(both.owner_store.path)


async def test_a_run_handed_in_at_one_is_carried_out_at_the_other(pair: Pair) -> None:
    run = await submit(pair.owner)
    assert await pair.guest.wakeups.work.wait(5)

    (claimed,) = await claim(pair.guest)
    with pair.owner.watch(run.id) as watch:
        done = await pair.guest.succeed(claimed.run, claimed.run.attempt_id or "", b'"hi"')
        assert await watch.wait(5)
        assert watch.take_stale()

    assert await pair.owner.result(ME, run.id) == (done, b'"hi"')


async def test_one_waits_for_what_the_other_does(pair: Pair) -> None:
    run = await submit(pair.owner)
    (claimed,) = await claim(pair.guest)
    waiting = asyncio.create_task(pair.owner.wait(ME, run.id, 10))
    await asyncio.sleep(0)

    await pair.guest.succeed(claimed.run, claimed.run.attempt_id or "", b"1")

    assert (await waiting).state is RunState.SUCCEEDED


async def test_a_cancel_at_one_raises_doubt_at_the_other(pair: Pair) -> None:
    run = await submit(pair.owner)
    (claimed,) = await claim(pair.guest)
    attempt_id = claimed.run.attempt_id or ""
    pair.guest.wakeups.guard(attempt_id, lambda run: None)

    await pair.owner.cancel(ME, run.id)

    assert await pair.guest.wakeups.doubt.wait(5)
    assert attempt_id not in await pair.guest.held(claimed.run.worker_id or "")


@pytest.mark.parametrize("seed", range(5))
async def test_both_see_the_same_whoever_writes(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    ids: list[str] = []
    for _ in range(60):
        engine = chance.choice([pair.owner, pair.guest])
        match chance.randrange(4):
            case 0:
                ids.append((await submit(engine)).id)
            case 1:
                await claim(engine, limit=2)
            case 2 if ids and not (await engine.get(ME, victim := chance.choice(ids))).is_final:
                await engine.cancel(ME, victim)
            case _:
                pass
        for run_id in chance.sample(ids, min(5, len(ids))):
            assert await pair.owner.get(ME, run_id) == await pair.guest.get(ME, run_id)


async def test_writers_of_both_at_once_lose_nothing(pair: Pair) -> None:
    runs = await asyncio.gather(*[submit(engine) for engine in (pair.owner, pair.guest) for _ in range(200)])

    claimed = [
        c.run.id
        for _ in range(20)
        for engine in (pair.owner, pair.guest)
        for c in await claim(engine, limit=20)
    ]

    assert sorted(claimed) == sorted(run.id for run in runs)


async def test_a_key_is_unique_over_both(pair: Pair) -> None:
    first = await submit(pair.owner, new_run(key="k"))

    assert (await submit(pair.guest, new_run(key="k"))).id == first.id


def test_memory_is_not_trusted_after_a_writer_died_in_its_turn(tmp_path: Path) -> None:
    ours, theirs = Turns(tmp_path), Turns(tmp_path)
    heads = Heads(ours)
    ours.take()
    before = ours.end()
    heads.warm(list)
    asked: list[str] = []

    theirs.take()
    theirs.close()  # as the kernel does for one that is killed
    heads.get("run_1", lambda run_id: asked.append(run_id))
    begun = ours.take()
    heads.get("run_1", lambda run_id: asked.append(run_id))
    after = ours.end()

    assert ours.changed(before, begun) is None
    assert after.count > before.count + 2
    assert after.count % 2 == 0
    assert asked == ["run_1", "run_1"]
    ours.close()


def test_heads_read_while_another_writes_are_not_kept(tmp_path: Path) -> None:
    ours, theirs = Turns(tmp_path), Turns(tmp_path)
    heads = Heads(ours)
    run = born("run_1", ME, new_run(), 1)
    asked: list[str] = []

    def read_meanwhile() -> list[Run]:
        theirs.take()
        theirs.end()
        return [run]

    heads.warm(read_meanwhile)
    heads.get(run.id, lambda run_id: asked.append(run_id))
    heads.warm(lambda: [run])
    heads.get(run.id, lambda run_id: asked.append(run_id))

    assert asked == ["run_1"]
    ours.close()
    theirs.close()


def test_what_others_changed_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    ours, theirs = Turns(tmp_path), Turns(tmp_path)
    heads = Heads(ours)
    first, second = (born(f"run_{n}", ME, new_run(), 1) for n in (1, 2))
    heads.warm(lambda: [first, second])
    asked: list[str] = []

    theirs.take()
    theirs.end([first.id])
    found = [heads.get(run.id, lambda run_id: asked.append(run_id)) for run in (first, second)]

    assert found == [None, second]
    assert asked == [first.id]
    ours.close()
    theirs.close()


def test_who_missed_too_much_to_be_told_forgets_everything(tmp_path: Path) -> None:
    ours, theirs = Turns(tmp_path), Turns(tmp_path)
    ours.take()
    before = told = ours.end()

    for n in range(MISSED_MAX // 100 + 1):
        theirs.take()
        told = theirs.end([f"run_{n}_{i}" for i in range(100)])
        known = ours.changed(before, told)
        assert (known is None) == (told.told > MISSED_MAX)

    theirs.take()
    one = theirs.end([f"run_{n}_{i}" for i in range(MISSED_MAX + 1)])
    assert ours.changed(told, one) is None
    theirs.take()
    assert ours.changed(one, theirs.end(["run_" + "x" * 40])) is None
    ours.close()
    theirs.close()


async def test_who_missed_a_message_is_told_so() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[int] = []
    missed = asyncio.Event()

    def on_rung(rungs: object) -> None:
        assert isinstance(rungs, list)
        heard.append(len(rungs))
        if not rungs:
            missed.set()

    sender = Peer(ours, lambda rungs: None, lambda told: None, lambda peer: None)
    rungs = [Rung(f"run_{n:026}", is_ready=True) for n in range(RUNGS_MAX)]
    for _ in range(1000):
        sender.ring(rungs)
    receiver = Peer(theirs, on_rung, lambda told: None, lambda peer: None)

    await asyncio.wait_for(missed.wait(), 10)

    assert 0 < len(heard) < 1000
    sender.close()
    receiver.close()


async def test_nothing_is_accepted_once_the_folder_is_gone(pair: Pair, tmp_path: Path) -> None:
    kept = await submit(pair.owner)
    aside = tmp_path.with_name("aside")
    os.rename(tmp_path, aside)  # noqa: PTH104

    for engine in (pair.owner, pair.guest):
        with pytest.raises(StoreUnavailable, match="was removed or replaced"):
            await submit(engine)

    os.rename(aside, tmp_path)  # noqa: PTH104
    assert await pair.guest.get(ME, kept.id) == kept
