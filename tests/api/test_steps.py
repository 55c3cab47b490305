"""A run's steps: listed, seen, and answered for."""

import pytest

from outlast.steps import Effect
from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"


async def test_a_run_that_waits_for_an_answer_says_what_it_asks(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.unsure("pay")

    run = (await served.http.get(f"{URL}/{job_id}")).json()
    listed = (await served.http.get(f"{URL}/{job_id}/steps")).json()

    waiting = run["waiting"]
    assert (run["status"], waiting.pop("since")[:2]) == ("running", "20")
    assert waiting == {"kind": "tool", "step": "pay", "name": "pay", "input": {"euros": 5}}
    (step,) = listed.pop("steps")
    assert listed == {"total": 1, "page": 1, "page_size": 20}
    assert step.pop("idempotency_key").startswith("step_")
    assert step.pop("started_at")
    assert step == {"step": "pay", "name": "pay", "effect": "once", "state": "unsure", "input": {"euros": 5}}


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"action": "retry"}, "again"),
        ({"action": "skip", "result": None}, "done"),
        ({"action": "skip", "result": {"ü": [1]}}, "done"),
        ({"action": "fail", "error": "No money."}, "failed"),
    ],
)
async def test_an_answer_lets_the_run_go_on_and_may_be_repeated(
    served: Served, driver: Driver, answer: dict[str, object], state: str
) -> None:
    job_id = await served.submit()
    await driver.unsure("pay")

    runs = [(await served.http.post(f"{URL}/{job_id}/steps/pay", json=answer)).json() for _ in range(2)]
    other = await served.http.post(f"{URL}/{job_id}/steps/pay", json={"action": "skip", "result": 7})

    assert [(run["status"], "waiting" in run) for run in runs] == [("queued", False)] * 2
    assert (other.status_code, other.json()["code"]) == (409, "step_not_waiting")
    step = (await served.http.get(f"{URL}/{job_id}/steps/pay")).json()
    assert (step["state"], step["answer"]) == (state, answer["action"])
    assert {name: step.get(name) for name in ("result", "error")} == {
        "result": answer.get("result"),
        "error": answer.get("error"),
    }


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"action":"stop"}',
        b'{"action":"skip"}',
        b'{"action":"fail"}',
        b'{"action":"retry","result":1}',
        b'{"action":"retry","error":"no"}',
        b'{"action":"skip","result":1,"error":"no"}',
        b'{"action":"skip","result":"\\ud800"}',
        b'{"action":"skip","result":"\xff"}',
    ],
)
async def test_an_answer_that_says_nothing_clear_is_refused(
    served: Served, driver: Driver, content: bytes
) -> None:
    job_id = await served.submit()
    await driver.unsure("pay")

    headers = {"content-type": "application/json"}
    answer = await served.http.post(f"{URL}/{job_id}/steps/pay", content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    assert (await served.http.get(f"{URL}/{job_id}")).json()["waiting"]["kind"] == "tool"


async def test_a_step_is_found_under_any_key(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await driver.engine.steps.begin(run.id, attempt_id, "ü/1 #2", "look", Effect.READ)
    await driver.engine.steps.end(run.id, attempt_id, "ü/1 #2", b'"%s"' % (b"x" * 5000))

    step = (await served.http.get(f"{URL}/{job_id}/steps/%C3%BC%2F1%20%232")).json()
    (listed,) = (await served.http.get(f"{URL}/{job_id}/steps")).json()["steps"]

    assert (step["state"], step["result"]) == ("done", "x" * 5000)
    assert (listed["result_size"], "result" in listed) == (5002, False)
