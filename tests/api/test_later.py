"""Runs that are handed in now and start later."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from outlast.clock import iso
from outlast.engine import Engine
from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"


def _in(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


@pytest.mark.parametrize("field", ["delay", "run_at"])
async def test_a_run_for_later_is_queued_and_says_when_it_starts(
    served: Served, engine: Engine, driver: Driver, field: str
) -> None:
    job_id = await served.submit("Hello", **{field: 3600 if field == "delay" else _in(hours=1)})

    shown = (await served.http.get(f"{URL}/{job_id}")).json()

    assert shown["status"] == "queued"
    in_s = (datetime.fromisoformat(shown["run_at"]) - datetime.now(UTC)).total_seconds()
    assert 3500 < in_s <= 3600
    assert await engine.next_due_at() is not None
    with pytest.raises(AssertionError, match="no run was ready"):
        await driver.claim()


@pytest.mark.parametrize("when", [{"delay": 0}, {"run_at": "1971-01-01T00:00:00-12:00"}, {"run_at": None}])
async def test_a_run_for_now_or_earlier_starts_at_once(
    served: Served, driver: Driver, when: dict[str, object]
) -> None:
    job_id = await served.submit("Hello", **when)

    assert (await driver.claim())[0].id == job_id
    assert "run_at" not in (await served.http.get(f"{URL}/{job_id}")).json()


async def test_a_run_becomes_ready_when_its_time_has_come(
    served: Served, engine: Engine, driver: Driver
) -> None:
    job_id = await served.submit(delay=0.5)
    now = await served.submit()
    await asyncio.sleep(0.51)  # the delay itself, longer than a busy machine takes for the other submit
    await engine.recover()

    claimed = [(await driver.claim())[0] for _ in range(2)]

    assert [run.id for run in claimed] == [now, job_id]
    assert claimed[1].order_at == claimed[1].created_at + 500


async def test_a_run_for_later_can_be_cancelled(served: Served, engine: Engine) -> None:
    job_id = await served.submit(delay=3600)

    assert (await served.http.post(f"{URL}/{job_id}/cancel")).status_code == 200
    assert await engine.next_due_at() is None
    shown = (await served.http.get(f"{URL}/{job_id}")).json()
    assert shown["status"] == "cancelled"
    assert "run_at" not in shown


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("when", "says"),
    [
        ({"delay": 1, "run_at": _in(hours=1)}, "exclude each other"),
        ({"delay": -1}, "delay"),
        ({"delay": 366 * 86_400 + 1}, "delay"),
        ({"delay": "5"}, "delay"),
        ({"run_at": iso(0)[:-1]}, "run_at: expected datetime with a timezone"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": 1_800_000_000}, "run_at"),
        ({"run_at": _in(days=367)}, "more than 366 days"),
        ({"run_at": "9999-12-31T23:59:59-12:00"}, "more than 366 days"),
    ],
)
async def test_a_start_that_makes_no_sense_is_refused(
    served: Served, when: dict[str, object], says: str
) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "framework": "echo", **when})

    assert answer.status_code == 422
    assert says in answer.json()["detail"]
