"""What a run may use: said at submit, shown, changed, and refused where it makes no sense."""

import msgspec
import pytest

from outlast.runs import Draft, EventKind, Usage
from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"


async def test_a_budget_is_shown_as_it_was_given(served: Served) -> None:
    job_id = await served.submit(max_cost_usd=0.25, max_tokens=1000)
    without = await served.submit()

    assert (await served.http.get(f"{URL}/{job_id}")).json()["budget"] == {
        "max_cost_usd": 0.25,
        "max_tokens": 1000,
    }
    assert "budget" not in (await served.http.get(f"{URL}/{without}")).json()


async def test_null_takes_a_limit_away_and_what_is_absent_stays(served: Served) -> None:
    job_id = await served.submit(max_cost_usd=0.25, max_tokens=1000)

    one = (await served.http.post(f"{URL}/{job_id}/budget", json={"max_cost_usd": None})).json()
    other = (await served.http.post(f"{URL}/{job_id}/budget", json={"max_cost_usd": 1e-9})).json()
    neither = (await served.http.post(f"{URL}/{job_id}/budget", json={})).json()

    assert one["budget"] == {"max_tokens": 1000}
    assert other["budget"] == neither["budget"] == {"max_cost_usd": 1e-9, "max_tokens": 1000}


async def test_a_run_that_waits_for_its_budget_says_so_and_goes_on(served: Served, driver: Driver) -> None:
    job_id = await served.submit(max_tokens=10)
    run, attempt_id = await driver.claim()
    await driver.engine.record_call(run.id, attempt_id, Usage(1, 9, 1), Draft(EventKind.MODEL_CALL, b"{}"))
    await driver.engine.suspend(run.id, attempt_id, "budget", msgspec.Raw(b'{"limit":"max_tokens"}'))

    waiting = (await served.http.get(f"{URL}/{job_id}")).json()
    raised = (await served.http.post(f"{URL}/{job_id}/budget", json={"max_tokens": 11})).json()

    assert (waiting["status"], waiting["waiting"]) == ("running", {"kind": "budget", "limit": "max_tokens"})
    assert (raised["status"], "waiting" in raised) == ("queued", False)


async def test_a_finished_run_needs_no_budget(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    answer = await served.http.post(f"{URL}/{job_id}/budget", json={"max_tokens": 11})

    assert (answer.status_code, answer.json()["code"]) == (400, "run_finished")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_cost_usd": 0},
        {"max_cost_usd": -1},
        {"max_cost": 1},
        {"max_cost_usd": 1e7},
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(served: Served, limits: dict[str, float]) -> None:
    job_id = await served.submit()

    at_submit = await served.http.post(URL, json={"prompt": "x", **limits})
    later = await served.http.post(f"{URL}/{job_id}/budget", json=limits)

    assert (at_submit.status_code, later.status_code) == (422, 422)
    assert next(iter(limits)) in later.json()["detail"]
