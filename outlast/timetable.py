"""What can be done with schedules, by clients and by time. Rules are in `schedules`, the transaction is the engine's.

Every change is a compare-and-set on the revision that was read, so two servers that fire for the same time, or a client
that edits while one fires, cannot both succeed: whoever was slower reads again. It holds nothing in memory.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from outlast import telemetry
from outlast.births import NewRun
from outlast.clock import Ids
from outlast.engine import Engine
from outlast.errors import InvalidSchedule, OutlastError, ScheduleChanged, StoreUnavailable
from outlast.runs import Caller
from outlast.schedules import Missed, Schedule, fire_at, passed, planned
from outlast.store.protocol import Submitted

TRIES = 10
"""How often a change is begun anew because somebody else was quicker."""

Prepare = Callable[[Schedule], Awaitable[NewRun]]
"""Reads the run's body as a submit is read now; raises the `OutlastError` that says why it cannot run."""

T = TypeVar("T")
log = telemetry.get("schedules")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as a client asks for it; the run's body has been checked."""

    name: str
    cron: str
    timezone: str = "UTC"
    missed: Missed = Missed.SKIP
    run: bytes
    paused: bool = False


class Timetable:
    """The verbs of schedules over an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._ids = Ids(engine.clock)

    async def create(self, caller: Caller, wanted: Wanted) -> Schedule:
        """Keep a new schedule; `InvalidSchedule` or `TooManySchedules` if it cannot be."""
        now = self._clock.now()
        fresh = Schedule(
            id=self._ids.new("sch"),
            tenant=caller.tenant,
            created_at=now,
            created_by=caller.key_id,
            **msgspec.structs.asdict(wanted),
        )
        schedule = _checked(planned(fresh, now), now)
        await self._engine.turn(None, schedule)
        return schedule

    async def change(
        self, caller: Caller, schedule_id: str, edit: Callable[[Schedule], Schedule]
    ) -> Schedule:
        """Edit a schedule. If its times change, or its pause ends, it fires next as seen from now."""

        async def attempt() -> Schedule:
            now = self._clock.now()
            before = await self._engine.schedule(caller, schedule_id)
            after = edit(before)
            if _timing(after) != _timing(before):
                after = _checked(planned(after, now), now)
            await self._engine.turn(before, after)
            return after

        return await _until_unchanged(attempt)

    async def delete(self, caller: Caller, schedule_id: str) -> None:
        """Forget a schedule; the runs it made stay."""

        async def attempt() -> None:
            await self._engine.turn(await self._engine.schedule(caller, schedule_id), None)

        await _until_unchanged(attempt)

    async def trigger(self, caller: Caller, schedule_id: str, prepare: Prepare) -> Submitted:
        """Fire now, also while paused; the next fire stays when it is. A submit's errors apply."""

        async def attempt() -> Submitted:
            before = await self._engine.schedule(caller, schedule_id)
            after = msgspec.structs.replace(before, last_fire_at=self._clock.now(), last_error=None)
            submitted = await self._engine.turn(before, after, await prepare(before))
            assert submitted is not None
            return submitted

        return await _until_unchanged(attempt)

    async def fire(self, schedule: Schedule, prepare: Prepare) -> bool:
        """Make the run that is due, or note why there is none; False if it has to be tried again.

        However many do this at once, and wherever one of them dies, there is one run for the fire.
        """
        try:
            await self._fire(schedule, prepare)
        except ScheduleChanged:
            pass  # another server has fired, or a client has changed it
        except StoreUnavailable:
            return False  # its log has it
        except Exception as error:
            log.error("a fire broke", exc=error, schedule_id=schedule.id)
            return False
        return True

    async def _fire(self, schedule: Schedule, prepare: Prepare) -> None:
        now = self._clock.now()
        try:
            fired_at = fire_at(schedule, now)
            after = passed(schedule, now, fired_at)
        except InvalidSchedule as error:  # its zone was valid once; the machine's time zones have changed
            await self._refuse(
                schedule, msgspec.structs.replace(schedule, paused=True, next_fire_at=None), error
            )
            return
        if fired_at is None:
            await self._engine.turn(schedule, after)
            log.warning("missed fires skipped", schedule_id=schedule.id)
            return
        try:
            new = await prepare(schedule)
        except StoreUnavailable:
            raise
        except OutlastError as error:
            await self._refuse(schedule, after, error)
            return
        submitted = await self._engine.turn(schedule, after, new)
        log.info("fired", schedule_id=schedule.id, run_id=submitted.run.id if submitted else None)

    async def _refuse(self, before: Schedule, after: Schedule, error: OutlastError) -> None:
        await self._engine.turn(before, msgspec.structs.replace(after, last_error=error.detail))
        log.warning("a fire made no run", schedule_id=before.id, code=error.code)


def _timing(schedule: Schedule) -> tuple[str, str, bool]:
    return schedule.cron, schedule.timezone, schedule.paused


def _checked(schedule: Schedule, now: int) -> Schedule:
    """Of a paused schedule too, cron and time zone have to mean something."""
    planned(msgspec.structs.replace(schedule, paused=False), now)
    return schedule


async def _until_unchanged(attempt: Callable[[], Awaitable[T]]) -> T:
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except ScheduleChanged:
            continue
    return await attempt()
