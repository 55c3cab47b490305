"""Cancel, timeout, drain and a lost lease: the agent is gone soon, and nothing it says afterwards counts."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from outlast.clock import SystemClock
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.runs import EventKind, Isolation, RunState
from outlast.transitions import Transition
from outlast.worker.loop import Worker
from outlast.workers import WorkerCard
from tests.worker.conftest import ME, Bench, until

KINDS = pytest.mark.parametrize("kind", list(Isolation))


@KINDS
async def test_an_agent_that_obeys_is_gone_at_once(bench: Bench, kind: Isolation) -> None:
    run_id = await bench.ready("sleeper", kind=kind)
    events = len(await bench.events(run_id))

    run = await bench.engine.cancel(ME, run_id)
    await bench.idle(2)

    assert run.state is RunState.CANCELLED
    assert bench.left() == set()
    assert bench.access.revoked == set(bench.access.granted)
    assert len(await bench.events(run_id)) == events + 1


@KINDS
async def test_an_agent_may_clean_up_before_it_goes(bench: Bench, kind: Isolation, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    run_id = await bench.ready("tidy", str(kept), kind=kind)

    await bench.engine.cancel(ME, run_id)
    await bench.idle(2)

    assert _text(kept) == "cleaned up"


@KINDS
@pytest.mark.parametrize("agent", ["stubborn", "blocker"])
async def test_an_agent_that_does_not_obey_is_gone_after_the_grace(
    bench: Bench, agent: str, kind: Isolation
) -> None:
    run_id = await bench.ready(agent, "alone", kind=kind)
    await asyncio.sleep(0.3)

    await bench.engine.cancel(ME, run_id)
    await bench.idle(2)

    assert bench.left() == set()


@KINDS
async def test_a_run_that_used_up_its_time_fails_and_its_agent_is_stopped(
    bench: Bench, kind: Isolation
) -> None:
    assert await bench.result("echo", kind=kind) == "Hello"
    run = await bench.ended(await bench.submit("sleeper", kind=kind, timeout_s=1))
    await bench.idle(2)

    assert run.state is RunState.FAILED
    assert run.error is not None
    assert (run.error.code, run.error.message) == ("timeout", "The run used up its 1 s of execution time.")
    assert 900 <= run.executed_ms <= 3000
    kinds = [event.kind for event in await bench.events(run.id)]
    assert kinds == [EventKind.STATUS, EventKind.STATUS, EventKind.LOG, EventKind.COMPLETE]


@KINDS
async def test_a_cancel_right_after_the_submit_stops_the_run_whatever_it_was_doing(
    bench: Bench, kind: Isolation
) -> None:
    for pause_ms in range(0, 20, 2):
        run_id = await bench.submit("sleeper", kind=kind)
        await asyncio.sleep(pause_ms / 1000)
        await bench.engine.cancel(ME, run_id)

    await bench.idle(5)

    assert bench.left() == set()


async def test_an_agent_that_prints_for_ever_costs_neither_the_loop_nor_the_disk(bench: Bench) -> None:
    run_ids = [await bench.ready("chatters") for _ in range(3)]
    longest_s = 0.0
    until_s = time.monotonic() + 3
    while time.monotonic() < until_s:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        longest_s = max(longest_s, time.monotonic() - began)

    for run_id in run_ids:
        await bench.engine.cancel(ME, run_id)
    await bench.idle(2)

    lines = await bench.logs(run_ids[0])
    dropped = [line for line in lines if "lines dropped" in line]
    assert len(lines) < 200 * 8
    assert 1 <= len(dropped) <= 8
    assert longest_s < 0.5


async def test_a_drain_lets_runs_finish(bench: Bench) -> None:
    run_id = await bench.submit("reports")
    await bench.said(run_id, "from a thread")

    await bench.worker.drain(10)

    assert (await bench.run(run_id)).state is RunState.SUCCEEDED


@pytest.mark.parametrize("agent", ["sleeper", "stubborn", "blocker"])
async def test_a_drain_hands_back_what_does_not_finish_and_leaves_nothing(bench: Bench, agent: str) -> None:
    shared = await bench.ready(agent, kind=Isolation.SHARED)
    alone = await bench.ready(agent, "alone")

    began = time.monotonic()
    await bench.worker.drain(0.1)

    assert time.monotonic() - began < 4
    for run_id in (shared, alone):
        run = await bench.run(run_id)
        assert (run.state, run.lost, run.attempt) == (RunState.QUEUED, 0, 1)
    assert bench.access.revoked == set(bench.access.granted)
    assert bench.left() == set()
    assert bench.worker.helpers == set()


async def test_a_run_whose_agent_died_goes_on_when_its_calls_in_flight_have_ended(bench: Bench) -> None:
    bench.access.has_calls = True
    run_id = await bench.ready("sleeper")
    _kill_agents(bench)
    await until(lambda: bench.access.settled == set(bench.access.granted), 10, "the loss")

    assert (await bench.run(run_id)).state is RunState.RUNNING
    bench.access.come_to_an_end()

    await until(lambda: len(bench.access.granted) == 2, 10, "the second attempt")
    run = await bench.run(run_id)
    assert (run.attempt, run.lost) == (2, 1)


async def test_a_cancel_does_not_wait_for_the_calls_of_an_agent_that_died(bench: Bench) -> None:
    bench.access.has_calls = True
    run_id = await bench.ready("sleeper")
    _kill_agents(bench)
    await until(lambda: bench.access.settled == set(bench.access.granted), 10, "the loss")

    run = await bench.engine.cancel(ME, run_id)
    await bench.idle(2)

    assert run.state is RunState.CANCELLED
    assert bench.access.revoked == set(bench.access.granted)


async def test_a_drain_hands_a_run_back_when_it_wants_a_further_call(bench: Bench) -> None:
    run_id = await bench.ready("sleeper")
    draining = asyncio.create_task(bench.worker.drain(8))
    await until(lambda: bool(bench.access.settled), 15, "the second half of the grace")

    bench.access.come_to_an_end()
    await asyncio.wait_for(draining, 8)

    assert (await bench.run(run_id)).state is RunState.QUEUED


def _kill_agents(bench: Bench) -> None:
    for pid in bench.left():
        os.kill(pid, signal.SIGKILL)


async def test_a_handed_back_run_is_taken_up_by_the_next_worker(bench: Bench) -> None:
    run_id = await bench.ready("sleeper")
    await bench.worker.drain(0)

    bench.worker = bench.new_worker()
    await bench.worker.start()
    await until(lambda: len(bench.access.granted) == 2, 5, "the second attempt")

    assert (await bench.run(run_id)).attempt == 2


class Away(Engine):
    """An engine whose store can be taken away."""

    is_away = False

    async def beat(self, worker_id: str, lease_s: float, card: WorkerCard = WorkerCard()) -> bool:  # noqa: B008
        if self.is_away:
            raise StoreUnavailable("The store is away.")
        return await super().beat(worker_id, lease_s, card)

    async def recover(self) -> Sequence[Transition]:
        if self.is_away:
            raise StoreUnavailable("The store is away.")
        return await super().recover()


async def test_a_worker_that_starts_while_the_store_is_away_works_once_it_is_back(bench: Bench) -> None:
    await bench.worker.drain(0)
    bench.engine = engine = Away(bench.store, SystemClock())
    bench.worker = bench.new_worker(lease_s=2.0)
    engine.is_away = True

    await bench.worker.start()
    engine.is_away = False

    assert await bench.result("where")


async def test_a_worker_that_cannot_renew_its_lease_stops_its_agents_before_it_ends(bench: Bench) -> None:
    await bench.worker.drain(0)
    bench.engine = engine = Away(bench.store, SystemClock())
    bench.worker = bench.new_worker(lease_s=2.0)
    await bench.worker.start()
    run_id = await bench.ready("stubborn", "alone")
    began = time.monotonic()

    engine.is_away = True
    await until(lambda: not bench.worker.attempts, 2, "the agents to be stopped")

    assert time.monotonic() - began < 2
    assert bench.left() == set()
    assert (await bench.run(run_id)).state is RunState.RUNNING
    assert bench.access.revoked == set(bench.access.granted[:1])
    engine.is_away = False
    await until(lambda: len(bench.worker.attempts) == 1, 6, "the run to be taken up again")
    run = await bench.run(run_id)
    assert (run.attempt, run.lost) == (2, 0)


async def test_a_worker_that_ended_well_leaves_no_folder_for_temporary_files(bench: Bench) -> None:
    await bench.result("where")
    places = _scratch_folders(bench.worker)
    assert len(places) == 1

    await bench.worker.drain(0)

    assert _scratch_folders(bench.worker) == []


def _scratch_folders(worker: Worker) -> list[Path]:
    return [*Path(tempfile.gettempdir()).glob(f"outlast-*-{worker.folder[:8]}")]


async def test_a_worker_that_slept_through_its_lease_writes_nothing_more(bench: Bench) -> None:
    run_id = await bench.ready("sleeper")
    attempt_id = bench.access.granted[0]
    name = bench.worker.id

    await bench.engine.beat(name, -1.0)
    await bench.engine.recover()
    await until(lambda: len(bench.access.granted) == 2 or not bench.worker.attempts, 5, "the fence")
    await bench.store.retire(name)

    assert attempt_id not in bench.worker.attempts or (await bench.run(run_id)).attempt_id != attempt_id


def _text(path: Path) -> str:
    return path.read_text()
