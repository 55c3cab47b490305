"""Schedules: what a recurring run is, and when it fires. Pure: times go in and come out, nothing is read or changed.

The cron dialect and its behaviour where clocks change are Debian's (docs/decisions/0060-cron-is-cronsim.md).
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from outlast.errors import InvalidSchedule, quoted

LATE_MS = 60_000
"""A fire that is later than this was missed; fires are a minute apart at least, so it has happened by the next one."""
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}", re.ASCII)


class Missed(StrEnum):
    """What becomes of fires for which no server was there."""

    SKIP = "skip"
    """Nothing."""
    RUN_ONCE = "run_once"
    """One run for all of them, as soon as a server is back."""


class Schedule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A submit that is made again and again. Each fire makes one run, whatever dies and however many servers there are.

    The run's body is kept as it was sent and read anew at each fire, like a submit at that moment.
    """

    id: str
    tenant: str
    name: str
    cron: str
    timezone: str
    missed: Missed
    run: bytes
    """The body of its submits: JSON, at most `MAX_RUN` bytes."""
    paused: bool
    created_at: int
    created_by: str | None = None
    revision: int = 1
    """Counts its changes; a change is written only if nobody else has made one since it was read."""
    next_fire_at: int | None = None
    """Null exactly while it is paused."""
    last_fire_at: int | None = None
    """The time of the last fire, which may be earlier than the run it made; of a trigger, when that came."""
    last_run_id: str | None = None
    last_error: str | None = None
    """Why the last fire made no run; null if it made one."""


MAX_RUN = 64 * 1024
"""Bytes that the body of a schedule's runs may have: lists show it."""


class Recurrence:
    """The times that a cron expression names in a time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        """`InvalidSchedule` if either means nothing, or if no time will ever fit."""
        if len(cron.split()) != 5:
            raise InvalidSchedule(
                f"cron has five fields (minute, hour, day of month, month, day of week); {quoted(cron)} has not."
            )
        self._cron = cron
        self._zone = _zone(timezone)
        try:
            self._fires = CronSim(cron, datetime.fromtimestamp(0, self._zone))
            next(self._fires)
        except CronSimError as error:
            what = str(error).removeprefix("Bad ")
            raise InvalidSchedule(f"cron {quoted(cron)} cannot be read: its {what} means nothing.") from error
        except StopIteration as error:
            raise InvalidSchedule(f"cron {quoted(cron)} names a day that never comes.") from error

    def after(self, at: int) -> int:
        """The first fire later than `at`."""
        for fire in CronSim(self._cron, _local(at, self._zone)):
            if (
                fire_at := _epoch(fire)
            ) > at:  # from within a repeated hour, cronsim begins at its first pass
                return fire_at
        raise InvalidSchedule(f"cron {quoted(self._cron)} names a day that does not come any more.")

    def latest(self, at: int) -> int:
        """The last fire not later than `at`."""
        backwards = (
            _epoch(fire) for fire in CronSim(self._cron, _local(at + 60_000, self._zone), reverse=True)
        )
        latest = next((fire_at for fire_at in backwards if fire_at <= at), None)
        if latest is None:
            raise InvalidSchedule(f"cron {quoted(self._cron)} names a day that has never been.")
        while (
            later := self.after(latest)
        ) <= at:  # from within a repeated hour, it does not see the first pass
            latest = later
        return latest


def _local(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)


def _epoch(time: datetime) -> int:
    return round(time.timestamp()) * 1000


@lru_cache(maxsize=128)
def _zone(name: str) -> ZoneInfo:
    try:
        if not _ZONE.fullmatch(name):
            raise ValueError(name)
        return ZoneInfo(name)
    except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError; a folder is an OSError
        raise _unknown_zone(name) from error
    except KeyError as error:
        raise _unknown_zone(name) from error


def _unknown_zone(name: str) -> InvalidSchedule:
    return InvalidSchedule(
        f"There is no time zone {quoted(name)}; send an IANA name such as Europe/Berlin or UTC."
    )


@lru_cache(maxsize=1024)
def recurrence(cron: str, timezone: str) -> Recurrence:
    """The recurrence, made once."""
    return Recurrence(cron, timezone)


def planned(schedule: Schedule, now: int) -> Schedule:
    """The schedule with its next fire as its cron, time zone and pause have it, counted from now."""
    next_at = None if schedule.paused else recurrence(schedule.cron, schedule.timezone).after(now)
    return msgspec.structs.replace(schedule, next_fire_at=next_at)


def fire_at(schedule: Schedule, now: int) -> int | None:
    """The fire that is to make a run now, null if it was missed and missed ones are skipped.

    Of several that have passed it is the last one: fires are never made up for one by one.
    """
    assert schedule.next_fire_at is not None
    latest = max(schedule.next_fire_at, recurrence(schedule.cron, schedule.timezone).latest(now))
    return latest if schedule.missed is Missed.RUN_ONCE or now - latest <= LATE_MS else None


def passed(schedule: Schedule, now: int, fired_at: int | None, error: str | None = None) -> Schedule:
    """The schedule once a fire is over: it fires next after now, and never again for a time it has fired for."""
    assert schedule.next_fire_at is not None
    next_at = recurrence(schedule.cron, schedule.timezone).after(max(now, schedule.next_fire_at))
    advanced = msgspec.structs.replace(schedule, next_fire_at=next_at)
    if fired_at is None:
        return advanced
    return msgspec.structs.replace(advanced, last_fire_at=fired_at, last_error=error)
