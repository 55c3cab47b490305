"""Two server processes on one database, at the same moment."""

import asyncio
from collections import Counter

from outlast.births import NewRun
from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.schedules import Schedule
from outlast.store.protocol import Page, RunFilter
from outlast.timetable import Timetable, Wanted
from tests.runs_factory import ME, new_run
from tests.store.conftest import Either

STORES = ("postgres",)
SCHEDULES = 20


async def _prepare(schedule: Schedule) -> NewRun:
    return new_run()


async def test_a_fire_that_two_servers_make_at_once_is_one_run(
    engine: Engine, either: Either, clock: FakeClock
) -> None:
    other_store = either.make()
    await other_store.open()
    servers = [Timetable(engine), Timetable(Engine(other_store, clock))]
    wanted = Wanted(name="n", cron="* * * * *", run=b'{"prompt":"p"}')
    made = [await servers[0].create(ME, wanted) for _ in range(SCHEDULES)]
    clock.advance(61)

    fired = await asyncio.gather(*[server.fire(one, _prepare) for one in made for server in servers])

    await other_store.close()
    runs = (await engine.list_runs(ME, RunFilter(), Page(100))).runs
    assert fired == [True] * SCHEDULES * 2
    assert Counter(run.schedule_id for run in runs) == {one.id: 1 for one in made}
