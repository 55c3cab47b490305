"""What any store promises of schedules, tried through the engine's verbs."""

import asyncio

import msgspec
import pytest

from outlast.engine import Engine
from outlast.errors import IdempotencyConflict, ScheduleChanged, ScheduleNotFound, TooManySchedules
from outlast.runs import Caller
from outlast.schedules import Missed, Schedule
from outlast.store.protocol import SCHEDULES_MAX, Page, RunFilter, Store, Turn
from tests.runs_factory import ME, new_run, submit


def a_schedule(number: int = 1, **changes: object) -> Schedule:
    schedule = Schedule(
        id=f"sch_{number}",
        tenant="default",
        name="Näme",
        cron="* * * * *",
        timezone="Europe/Berlin",
        missed=Missed.RUN_ONCE,
        run=b'{"prompt":"p"}',
        paused=False,
        created_at=1,
        created_by="key",
        next_fire_at=1000 * number,
    )
    return msgspec.convert(msgspec.structs.asdict(schedule) | changes, Schedule)


async def test_a_schedule_read_back_is_the_one_that_was_written(engine: Engine, store: Store) -> None:
    schedule = a_schedule(last_fire_at=5, last_run_id="run_1", last_error="no")

    await engine.turn(None, schedule)

    assert await store.schedule("sch_1") == schedule
    assert await engine.next_schedules(5) == [schedule]


async def test_a_change_is_written_if_nobody_was_quicker(engine: Engine, store: Store) -> None:
    before = a_schedule()
    await engine.turn(None, before)

    await engine.turn(before, a_schedule(paused=True, next_fire_at=None))

    with pytest.raises(ScheduleChanged):
        await engine.turn(before, a_schedule(name="late"))
    with pytest.raises(ScheduleChanged):
        await engine.turn(before, None)
    assert await store.schedule("sch_1") == a_schedule(paused=True, next_fire_at=None, revision=2)
    assert await engine.next_schedules(5) == []


async def test_of_many_that_fire_for_the_same_time_one_makes_a_run(engine: Engine) -> None:
    before = a_schedule()
    await engine.turn(None, before)

    fired = await asyncio.gather(
        *[engine.turn(before, a_schedule(next_fire_at=2000), new_run()) for _ in range(20)],
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in fired) == ["ScheduleChanged"] * 19 + ["Submitted"]
    listed = await engine.list_runs(ME, RunFilter(), Page())
    assert (listed.total, [run.schedule_id for run in listed.runs]) == (1, ["sch_1"])
    schedule = await engine.schedule(ME, "sch_1")
    assert (schedule.last_run_id, schedule.next_fire_at) == (listed.runs[0].id, 2000)


async def test_a_run_that_was_there_leaves_the_schedule_as_it_was(engine: Engine) -> None:
    run = await submit(engine, new_run(key="k"))
    before = a_schedule()
    await engine.turn(None, before)

    submitted = await engine.turn(before, a_schedule(name="other"), new_run(key="k"))

    assert submitted is not None
    assert (submitted.run.id, submitted.replayed) == (run.id, True)
    with pytest.raises(IdempotencyConflict):
        await engine.turn(before, a_schedule(name="other"), new_run(key="k", body=b"another"))
    assert await engine.schedule(ME, "sch_1") == before


async def test_schedules_fire_soonest_first_and_are_listed_newest_first(engine: Engine) -> None:
    schedules = [a_schedule(n) for n in (2, 1, 3)]
    for schedule in schedules:
        await engine.turn(None, schedule)
    await engine.turn(None, a_schedule(4, tenant="other"))

    assert [s.id for s in await engine.next_schedules(2)] == ["sch_1", "sch_2"]
    page = await engine.list_schedules(ME, 2, 1)
    assert ([s.id for s in page.schedules], page.total) == (["sch_2", "sch_1"], 3)


async def test_a_deleted_schedule_leaves_its_runs(engine: Engine) -> None:
    before = a_schedule()
    await engine.turn(None, before)
    submitted = await engine.turn(before, a_schedule(), new_run())
    assert submitted is not None

    await engine.turn(await engine.schedule(ME, "sch_1"), None)

    with pytest.raises(ScheduleNotFound):
        await engine.schedule(ME, "sch_1")
    assert (await engine.get(ME, submitted.run.id)).schedule_id == "sch_1"


async def test_another_tenants_schedule_is_not_found(engine: Engine) -> None:
    await engine.turn(None, a_schedule())

    with pytest.raises(ScheduleNotFound):
        await engine.schedule(Caller("other"), "sch_1")


async def test_a_tenant_has_so_many_schedules_and_no_more(engine: Engine, store: Store) -> None:
    await asyncio.gather(*[store.turn(Turn(None, a_schedule(n))) for n in range(SCHEDULES_MAX)])

    with pytest.raises(TooManySchedules):
        await engine.turn(None, a_schedule(SCHEDULES_MAX))

    await engine.turn(None, a_schedule(SCHEDULES_MAX, tenant="other"))
    assert (await engine.list_schedules(ME, 1, 0)).total == SCHEDULES_MAX
