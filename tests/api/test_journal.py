"""A finished run asked for again, and its model calls: `/retry` and `/calls`."""

import msgspec
import pytest

from outlast.engine import Engine
from outlast.runs import Draft, EventKind, JournalMode, RunError, Usage
from tests.api.conftest import Served
from tests.api.driver import Driver
from tests.journal_factory import canonical, finished, record

URL = "/api/v1/runs"


async def journal(engine: Engine, run_id: str) -> list[bytes]:
    found = await engine.journals.read(run_id, 1)
    return [await engine.journals.asked("default", call) for call in found.calls]


async def test_a_retry_is_a_new_run_with_the_journal_of_the_old_one(served: Served, driver: Driver) -> None:
    old = await served.submit(metadata={"a": 1})
    run, _ = await driver.claim()
    await record(driver.engine, run, finished("a"))
    await served.http.post(f"{URL}/{old}/cancel")

    answer = await served.http.post(f"{URL}/{old}/retry")

    job_id = answer.json()["job_id"]
    assert (answer.status_code, answer.headers["location"]) == (202, f"{served.url}{URL}/{job_id}")
    shown = (await served.http.get(f"{URL}/{job_id}")).json()
    assert (shown["status"], shown["forked_from"], shown["metadata"]) == ("queued", old, {"a": 1})
    assert "forked_from" not in (await served.http.get(f"{URL}/{old}")).json()
    assert await journal(driver.engine, job_id) == [canonical("a")]


async def test_a_fresh_retry_has_no_journal(served: Served, driver: Driver) -> None:
    old = await served.submit()
    run, attempt_id = await driver.claim()
    await record(driver.engine, run, finished("a"))
    await driver.engine.fail(old, attempt_id, RunError("timeout", "Too long."))

    answer = await served.http.post(f"{URL}/{old}/retry", json={"mode": "fresh"})

    assert await journal(driver.engine, answer.json()["job_id"]) == []


async def test_a_retry_under_a_key_is_made_once(served: Served, driver: Driver) -> None:
    old = await served.submit()
    await driver.succeed()
    headers = {"Idempotency-Key": "k"}

    first = await served.http.post(f"{URL}/{old}/retry", headers=headers)
    second = await served.http.post(f"{URL}/{old}/retry", headers=headers, json={"mode": "resume"})
    other = await served.http.post(f"{URL}/{old}/retry", headers=headers, json={"mode": "fresh"})

    assert second.json() == first.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["job_id"]) == (409, first.json()["job_id"])


async def test_a_run_that_goes_on_says_to_cancel_it_first(served: Served) -> None:
    job_id = await served.submit()

    answer = await served.http.post(f"{URL}/{job_id}/retry")

    assert (answer.status_code, answer.json()["code"]) == (400, "run_active")
    assert "cancel it" in answer.json()["detail"]


async def test_a_submit_says_what_its_retries_begin_with(served: Served, driver: Driver) -> None:
    await served.submit(retry={"max_attempts": 2, "journal": "fresh"})

    run, _ = await driver.claim()

    assert run.retry.journal is JournalMode.FRESH


@pytest.mark.parametrize("retry", [{"journal": "no"}, {"journal": None}])
async def test_a_journal_mode_that_is_none_is_refused(served: Served, retry: object) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "framework": "echo", "retry": retry})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")


async def test_calls_are_listed_page_by_page_with_their_attempts(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    told = {
        "model": "m",
        "path": "/v1/chat/completions",
        "status": 200,
        "streamed": False,
        "ms": 7,
        "tries": 1,
    }
    await call(driver, job_id, attempt_id, told | {"input_tokens": 5})
    await driver.log(run, attempt_id, "between")
    await driver.engine.hand_back(job_id, attempt_id)
    _, second_attempt = await driver.claim()
    diverged = {"call": 3, "field": "messages[0].content", "was": "a", "is": "b"}
    await call(driver, job_id, second_attempt, told | {"how": "exact", "tries": 0})
    await call(driver, job_id, second_attempt, told | {"how": "live", "diverged": diverged})

    first = (await served.http.get(f"{URL}/{job_id}/calls?limit=2")).json()
    rest = (await served.http.get(f"{URL}/{job_id}/calls?after={first['next_after']}")).json()

    assert [(at["attempt"], at["how"], at["tries"]) for at in first["calls"]] == [
        (1, "live", 1),
        (2, "exact", 0),
    ]
    assert first["calls"][0] | {"at": ""} == told | {
        "seq": 3, "attempt": 1, "how": "live", "input_tokens": 5, "at": ""
    }  # fmt: skip
    assert first["next_after"] == first["calls"][1]["seq"]
    assert [at["diverged"] for at in rest["calls"]] == [diverged]
    assert "next_after" not in rest


async def call(driver: Driver, run_id: str, attempt_id: str, told: dict[str, object]) -> None:
    draft = Draft(EventKind.MODEL_CALL, msgspec.json.encode(told))
    await driver.engine.record_call(run_id, attempt_id, Usage(1), draft)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1"])
async def test_a_page_that_cannot_be_is_refused(served: Served, query: str) -> None:
    job_id = await served.submit()

    answer = await served.http.get(f"{URL}/{job_id}/calls?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
