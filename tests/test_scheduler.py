"""Schedules in time: what fires, once, and what becomes of fires for which nobody was there."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from outlast.births import NewRun
from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import AgentFileRefused, StoreUnavailable
from outlast.runs import Run
from outlast.scheduler import Scheduler
from outlast.schedules import Missed, Schedule
from outlast.store.protocol import Page, RunFilter
from outlast.timetable import Timetable, Wanted
from tests.runs_factory import ME, new_run

NOON = round(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
HOURLY = Wanted(name="n", cron="0 * * * *", run=b'{"prompt":"p"}')
AGAIN = Wanted(name="n", cron="0 * * * *", run=b'{"prompt":"p"}', missed=Missed.RUN_ONCE)


@pytest.fixture
def clock() -> FakeClock:
    """Half past eleven."""
    return FakeClock(NOON - 1800_000)


@pytest.fixture
def timetable(engine: Engine) -> Timetable:
    return Timetable(engine)


async def prepare(schedule: Schedule) -> NewRun:
    return new_run(schedule.run.decode())


async def refuse(schedule: Schedule) -> NewRun:
    raise AgentFileRefused("There is no such file.")


async def runs(engine: Engine) -> tuple[Run, ...]:
    return (await engine.list_runs(ME, RunFilter(), Page())).runs


async def test_a_fire_makes_one_run_and_waits_for_the_next(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    made = await timetable.create(ME, HOURLY)
    clock.advance(1800.25)

    assert await timetable.fire(made, prepare)

    (run,) = await runs(engine)
    schedule = await engine.schedule(ME, made.id)
    assert (run.schedule_id, run.ready, run.created_at) == (made.id, True, NOON + 250)
    assert (schedule.last_fire_at, schedule.last_run_id) == (NOON, run.id)
    assert schedule.next_fire_at == NOON + 3600_000


async def test_servers_that_fire_at_the_same_moment_make_one_run(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    made = await timetable.create(ME, HOURLY)
    clock.advance(1800)

    fired = await asyncio.gather(*[Timetable(engine).fire(made, prepare) for _ in range(20)])

    assert fired == [True] * 20
    assert len(await runs(engine)) == 1


@pytest.mark.parametrize(("wanted", "made_up"), [(HOURLY, 0), (AGAIN, 1)])
async def test_fires_missed_by_hours_are_skipped_or_made_up_for_by_one_run(
    engine: Engine, timetable: Timetable, clock: FakeClock, wanted: Wanted, made_up: int
) -> None:
    made = await timetable.create(ME, wanted)
    clock.advance(5 * 3600)

    await timetable.fire(made, prepare)

    schedule = await engine.schedule(ME, made.id)
    assert len(await runs(engine)) == made_up
    assert schedule.next_fire_at == NOON + 5 * 3600_000
    assert schedule.last_fire_at == (NOON + 4 * 3600_000 if made_up else None)


async def test_a_restart_within_a_minute_misses_nothing(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    made = await timetable.create(ME, HOURLY)
    clock.advance(1800 + 59)

    await timetable.fire(made, prepare)

    assert len(await runs(engine)) == 1


async def test_a_run_that_is_refused_is_told_and_the_next_fire_tries_again(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    made = await timetable.create(ME, HOURLY)
    clock.advance(1800)

    assert await timetable.fire(made, refuse)

    refused = await engine.schedule(ME, made.id)
    assert (refused.last_error, refused.last_run_id) == ("There is no such file.", None)
    clock.advance(3600)
    await timetable.fire(refused, prepare)
    fired = await engine.schedule(ME, made.id)
    assert fired.last_error is None
    assert fired.last_run_id == (await runs(engine))[0].id


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_a_fire_that_broke_is_tried_again(
    engine: Engine, timetable: Timetable, clock: FakeClock, error: Exception
) -> None:
    async def breaks(schedule: Schedule) -> NewRun:
        raise error

    made = await timetable.create(ME, HOURLY)
    clock.advance(1800)

    assert not await timetable.fire(made, breaks)

    assert await engine.schedule(ME, made.id) == made
    assert await timetable.fire(made, prepare)
    assert len(await runs(engine)) == 1


async def test_what_was_paused_or_deleted_meanwhile_does_not_fire(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    paused, deleted = [await timetable.create(ME, HOURLY) for _ in range(2)]
    clock.advance(1800)
    await timetable.change(ME, paused.id, lambda schedule: msgspec.structs.replace(schedule, paused=True))
    await timetable.delete(ME, deleted.id)

    assert await timetable.fire(paused, prepare)
    assert await timetable.fire(deleted, prepare)

    assert await runs(engine) == ()


async def test_changes_at_the_same_moment_are_all_kept(engine: Engine, timetable: Timetable) -> None:
    made = await timetable.create(ME, HOURLY)

    await asyncio.gather(
        timetable.change(ME, made.id, lambda schedule: msgspec.structs.replace(schedule, name="other")),
        timetable.change(ME, made.id, lambda schedule: msgspec.structs.replace(schedule, cron="5 * * * *")),
        *[timetable.trigger(ME, made.id, prepare) for _ in range(5)],
    )

    schedule = await engine.schedule(ME, made.id)
    assert (schedule.name, schedule.cron, schedule.revision) == ("other", "5 * * * *", 8)
    assert schedule.next_fire_at == NOON - 1800_000 + 35 * 60_000
    assert len(await runs(engine)) == 5


async def test_the_scheduler_fires_what_is_due_and_ends_when_it_is_told_to(
    engine: Engine, timetable: Timetable, clock: FakeClock
) -> None:
    for minute in (0, 0, 30):
        await timetable.create(ME, msgspec.structs.replace(HOURLY, cron=f"{minute} * * * *"))
    scheduler = Scheduler(engine, prepare)
    running = asyncio.create_task(scheduler.run())
    clock.advance(1800)

    engine.wakeups.schedules.ring()
    async with asyncio.timeout(5):
        while len(await runs(engine)) < 2:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.002)
        await scheduler.stop()
        await running

    assert len(await runs(engine)) == 2
    clock.advance(3600)
    engine.wakeups.schedules.ring()
    assert len(await runs(engine)) == 2
