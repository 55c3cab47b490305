"""When a schedule fires: cron, time zones, and the hours that clocks skip or repeat."""

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.clock import iso
from outlast.errors import InvalidSchedule
from outlast.schedules import LATE_MS, Missed, Recurrence, Schedule, fire_at, passed, planned

BERLIN = "Europe/Berlin"
MINUTE = 60_000
DAY = 86_400_000


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def fires(cron: str, zone: str, after: str, count: int) -> list[str]:
    recurrence, now, found = Recurrence(cron, zone), at(after), []
    for _ in range(count):
        now = recurrence.after(now)
        found.append(iso(now)[:16])
    return found


def a_schedule(cron: str = "0 * * * *", missed: Missed = Missed.SKIP, zone: str = "UTC") -> Schedule:
    return Schedule(
        id="sch_1",
        tenant="default",
        name="n",
        cron=cron,
        timezone=zone,
        missed=missed,
        run=b"{}",
        paused=False,
        created_at=0,
    )


def test_a_schedule_fires_at_the_times_of_its_zone() -> None:
    assert fires("30 9 * * MON-FRI", BERLIN, "2026-11-20T12:00Z", 3) == [
        "2026-11-23T08:30",
        "2026-11-24T08:30",
        "2026-11-25T08:30",
    ]


def test_a_time_that_the_clock_skips_fires_at_the_next_one_there_is() -> None:
    assert fires("30 2 * * *", BERLIN, "2027-03-27T12:00Z", 2) == ["2027-03-28T01:00", "2027-03-29T00:30"]
    assert fires("15,45 2 * * *", BERLIN, "2027-03-27T12:00Z", 2) == ["2027-03-28T01:00", "2027-03-29T00:15"]


def test_a_time_that_the_clock_repeats_fires_once() -> None:
    assert fires("30 2 * * *", BERLIN, "2026-10-24T12:00Z", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]


@pytest.mark.parametrize("minute", range(0, 60, 10))
def test_from_within_the_repeated_hour_a_time_of_its_first_pass_is_not_fired_again(minute: int) -> None:
    after = f"2026-10-25T01:{minute:02d}Z"

    assert fires("30 2 * * *", BERLIN, after, 1) == ["2026-10-26T01:30"]


def test_every_hour_is_every_hour_also_when_the_clock_repeats_one() -> None:
    assert fires("0 * * * *", BERLIN, "2026-10-24T23:30Z", 3) == [
        "2026-10-25T00:00",
        "2026-10-25T01:00",
        "2026-10-25T02:00",
    ]


@pytest.mark.parametrize("cron", ["* * * * *", "*/7 3 * * *", "30 2 * * *", "59 23 L * *", "0 2,3 * * SUN"])
@pytest.mark.parametrize("zone", [BERLIN, "UTC", "Australia/Lord_Howe", "America/Sao_Paulo"])
@given(now=st.integers(at("2025-01-01T00:00Z"), at("2029-01-01T00:00Z")))
def test_the_latest_fire_and_the_next_leave_none_out(cron: str, zone: str, now: int) -> None:
    recurrence = Recurrence(cron, zone)

    latest, after = recurrence.latest(now), recurrence.after(now)

    assert latest <= now < after
    assert recurrence.after(latest) == after


@given(now=st.integers(at("2026-10-24T00:00Z"), at("2026-10-27T00:00Z")))
def test_fires_are_a_minute_apart_at_least(now: int) -> None:
    recurrence, times = Recurrence("* * * * *", BERLIN), [now]
    for _ in range(3):
        times.append(recurrence.after(times[-1]))

    assert all(later - earlier == MINUTE for earlier, later in pairwise(times[1:]))


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("* * * *", "UTC", "five fields"),
        ("* * * * * *", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("60 * * * *", "UTC", "minute"),
        ("* * * * ÄÖ", "UTC", "day-of-week"),
        ("0 0 30 FEB *", "UTC", "day-of-month"),
        ("* * * * *", "Mars/Olympus", "time zone 'Mars/Olympus'"),
        ("* * * * *", "../../etc/passwd", "time zone"),
        ("* * * * *", "Europe", "time zone"),
        ("* * * * *", "", "time zone"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused_in_words(cron: str, zone: str, says: str) -> None:
    with pytest.raises(InvalidSchedule, match=says):
        Recurrence(cron, zone)


def test_a_fire_makes_its_run_and_names_the_next() -> None:
    schedule = planned(a_schedule(), at("2026-11-22T11:30Z"))
    now = at("2026-11-22T12:00:00.004+00:00")

    after = passed(schedule, now, fire_at(schedule, now))

    assert schedule.next_fire_at == fire_at(schedule, now) == after.last_fire_at == at("2026-11-22T12:00Z")
    assert after.next_fire_at == at("2026-11-22T13:00Z")


def test_a_server_whose_clock_is_ahead_does_not_fire_for_the_same_time_twice() -> None:
    schedule = planned(a_schedule(), at("2026-11-22T11:30Z"))

    after = passed(schedule, at("2026-11-22T11:59:50Z"), schedule.next_fire_at)

    assert after.next_fire_at == at("2026-11-22T13:00Z")


@pytest.mark.parametrize("late_ms", [LATE_MS, LATE_MS + 1, 3 * DAY])
def test_missed_fires_are_skipped_or_made_up_for_once(late_ms: int) -> None:
    skips = planned(a_schedule("0 12 * * *"), at("2026-11-22T11:30Z"))
    makes_up = msgspec.structs.replace(skips, missed=Missed.RUN_ONCE)
    assert skips.next_fire_at is not None
    now = skips.next_fire_at + late_ms

    last_noon = now - now % DAY + DAY // 2
    on_time = now - last_noon <= LATE_MS
    assert fire_at(makes_up, now) == last_noon
    assert fire_at(skips, now) == (last_noon if on_time else None)
    assert passed(skips, now, None).next_fire_at == last_noon + DAY


def test_a_paused_schedule_has_no_next_fire() -> None:
    assert planned(msgspec.structs.replace(a_schedule(), paused=True), 0).next_fire_at is None
