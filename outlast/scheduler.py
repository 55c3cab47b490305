"""The scheduler: waits for the next fire of all schedules, and has it made.

Every process that accepts runs has one; for each fire the database lets one of them succeed (`Timetable.fire`). It
sleeps until the next fire it knows of, and looks up at least every `LOOK_S`.
"""

import asyncio

from outlast import telemetry
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.timetable import Prepare, Timetable

LOOK_S = 5.0
"""How long a schedule that another process has made may go unseen; that one's own scheduler has seen it."""
AGAIN_S = 1.0
AT_ONCE = 25
"""Fires that are made together, and read together with their bodies; if more are due, they follow at once."""

log = telemetry.get("schedules")


class Scheduler:
    """Run it as a task, and `stop` it before the store closes. It outlives a store that is away."""

    def __init__(self, engine: Engine, prepare: Prepare) -> None:
        self._engine = engine
        self._prepare = prepare
        self._clock = engine.clock
        self._timetable = Timetable(engine)
        self._stopping = False
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Fire until `stop`."""
        self._ended.clear()
        try:
            while not self._stopping:
                await self._engine.wakeups.schedules.wait(await self._fire_due())
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Fire no more; what is due is left to another process, or to the next start."""
        self._stopping = True
        self._engine.wakeups.schedules.ring()
        await self._ended.wait()

    async def _fire_due(self) -> float:
        """Fire what is due; how many seconds to wait before looking again."""
        try:
            soonest = await self._engine.next_schedules(AT_ONCE)
        except StoreUnavailable:
            return AGAIN_S  # its log has it
        except Exception as error:
            log.error("schedules wait", exc=error)
            return LOOK_S
        now = self._clock.now()
        due = [schedule for schedule in soonest if (schedule.next_fire_at or 0) <= now]
        if due:
            fired = await asyncio.gather(*[self._timetable.fire(schedule, self._prepare) for schedule in due])
            return 0 if all(fired) else AGAIN_S
        next_at = soonest[0].next_fire_at if soonest else None
        return LOOK_S if next_at is None else min((next_at - now) / 1000, LOOK_S)
