"""What no clock and no bell should do: jump, step back, ring twice, late, in the wrong order, or for nothing."""

import asyncio

import pytest

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import Fenced
from outlast.runs import EventKind, RunState
from outlast.store.protocol import Rung, Store
from tests.runs_factory import ME, WORKER, claim, running, submit

HOUR_S = 3600


async def test_a_clock_that_jumps_ahead_ends_a_lease_and_nothing_else(
    engine: Engine, clock: FakeClock
) -> None:
    run, attempt_id = await running(engine)
    queued = await submit(engine)

    clock.advance(HOUR_S)
    recovered = await engine.recover()

    assert [transition.run.id for transition in recovered] == [run.id]
    assert not await engine.beat(WORKER, 30)
    with pytest.raises(Fenced):
        await engine.succeed(run, attempt_id, b"1")
    again = await claim(engine, 2, worker="worker_2")
    assert {claimed.run.id for claimed in again} == {run.id, queued.id}


async def test_a_clock_that_steps_back_takes_no_run_from_a_living_worker(
    engine: Engine, clock: FakeClock
) -> None:
    run, attempt_id = await running(engine)

    clock.advance(-HOUR_S)
    second = await submit(engine)
    assert await engine.beat(WORKER, 30)
    assert await engine.recover() == []
    done = await engine.succeed(run, attempt_id, b"1")
    clock.advance(25)
    assert await engine.beat(WORKER, 30)
    clock.advance(25)

    assert await engine.recover() == []
    assert run.id < second.id
    assert done.executed_ms >= 0
    assert done.state is RunState.SUCCEEDED
    (claimed,) = [one.run for one in await claim(engine)]
    assert claimed.id == second.id


async def test_rings_that_come_twice_late_or_for_nothing_change_nothing(engine: Engine, store: Store) -> None:
    run, attempt_id = await running(engine)
    rungs = [
        Rung(run.id, is_ready=True, has_notice=True, taken_from=attempt_id),
        Rung("run_unknown", is_ready=True, has_notice=False, taken_from="att_unknown"),
    ]
    waiting = asyncio.create_task(engine.wait(ME, run.id, 10))

    for order in (rungs, rungs[::-1], [], rungs):
        store.on_rung(order)
        await asyncio.sleep(0)
    assert not waiting.done()
    assert await claim(engine) == []
    await engine.succeed(run, attempt_id, b"1")
    store.on_rung(rungs)

    assert (await waiting).state is RunState.SUCCEEDED
    kinds = [event.kind for event in await engine.events(ME, run.id)]
    assert kinds.count(EventKind.COMPLETE) == 1
