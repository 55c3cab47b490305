"""Looking at a run: what is said, when, and how long one may wait for it."""

import asyncio
import time

import msgspec
import pytest

from outlast.engine import Engine
from outlast.runs import Draft, EventKind, Progress, RunError, Usage
from tests.api.conftest import Served
from tests.api.driver import Driver
from tests.api.waiting import until

URL = "/api/v1/runs"


async def test_a_queued_run_says_little_and_nothing_of_it_is_null(served: Served) -> None:
    job_id = await served.submit()

    answer = await served.http.get(f"{URL}/{job_id}")

    status = answer.json()
    created_at = status.pop("created_at")
    assert created_at.endswith("Z")
    assert status == {
        "job_id": job_id,
        "status": "queued",
        "progress": {"percentage": 0},
        "framework": "echo",
        "runner": "echo",
        "timeout": 3600,
        "retry_after": 1,
    }
    assert answer.headers["retry-after"] == "1"


async def test_a_running_run_shows_its_progress_and_usage(
    served: Served, driver: Driver, engine: Engine
) -> None:
    job_id = await served.submit(session_id="s")
    run, attempt_id = await driver.claim()
    await driver.progress(run, attempt_id, Progress(50.0, "Processing", 1, 2))
    await engine.record_call(run.id, attempt_id, Usage(1, 20, 3, 4500), Draft(EventKind.MODEL_CALL, b"{}"))
    await engine.record_call(
        run.id, attempt_id, Usage(1, unpriced_calls=1), Draft(EventKind.MODEL_CALL, b"{}")
    )

    status = (await served.http.get(f"{URL}/{job_id}")).json()

    assert status["status"] == "running"
    assert status["progress"] == {
        "percentage": 50.0,
        "current_step": "Processing",
        "steps_completed": 1,
        "steps_total": 2,
    }
    assert status["usage"] == {
        "model_calls": 2,
        "input_tokens": 20,
        "output_tokens": 3,
        "cost_usd": 0.0000045,
        "unpriced_calls": 1,
    }
    assert status["attempt"] == 1
    assert status["session_id"] == "s"
    assert "started_at" in status
    assert "completed_at" not in status


async def test_a_succeeded_run_is_at_100_and_needs_no_further_poll(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    answer = await served.http.get(f"{URL}/{job_id}")

    status = answer.json()
    assert status["status"] == "succeeded"
    assert status["progress"] == {"percentage": 100.0}
    assert status["duration_seconds"] >= 0
    assert status["completed_at"] >= status["started_at"] >= status["created_at"]
    assert "retry_after" not in status
    assert "retry-after" not in answer.headers
    assert "error" not in status


async def test_a_failed_run_says_why_in_words_and_in_a_code(
    served: Served, driver: Driver, engine: Engine
) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await engine.fail(run.id, attempt_id, RunError("timeout", "The run used up its 1 s of execution time."))

    status = (await served.http.get(f"{URL}/{job_id}")).json()

    assert status["status"] == "failed"
    assert status["error"] == "The run used up its 1 s of execution time."
    assert status["error_code"] == "timeout"


async def test_a_waiting_run_is_running_and_says_what_it_waits_for(
    served: Served, driver: Driver, engine: Engine
) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await engine.suspend(run.id, attempt_id, "input", msgspec.Raw(b'{"question": "?"}'))

    status = (await served.http.get(f"{URL}/{job_id}")).json()

    assert status["status"] == "running"
    assert status["waiting"] == {"kind": "input", "question": "?"}


async def test_wait_is_answered_when_the_run_ends(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    waiting = asyncio.create_task(served.http.get(f"{URL}/{job_id}?wait=30"))
    await _watched(served, job_id)

    await driver.succeed()

    async with asyncio.timeout(5):
        assert (await waiting).json()["status"] == "succeeded"


async def test_wait_is_answered_when_the_time_is_up(served: Served) -> None:
    job_id = await served.submit()
    began = time.monotonic()

    status = (await served.http.get(f"{URL}/{job_id}?wait=0.2")).json()

    assert status["status"] == "queued"
    assert time.monotonic() - began >= 0.2


async def test_a_preference_to_wait_is_followed_and_confirmed(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    asking = served.http.get(f"{URL}/{job_id}", headers={"Prefer": "respond-async, wait=30"})
    waiting = asyncio.create_task(asking)
    await _watched(served, job_id)

    await driver.succeed()

    answer = await waiting
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait"


async def test_a_draining_server_ends_the_wait(served: Served) -> None:
    job_id = await served.submit()
    waiting = asyncio.create_task(served.http.get(f"{URL}/{job_id}?wait=60"))
    await _watched(served, job_id)

    served.drain()

    async with asyncio.timeout(5):
        assert (await waiting).json()["status"] == "queued"


@pytest.mark.sqlite
@pytest.mark.parametrize("wait", ["", "-1", "soon", "nan", "inf", "1e3", "٣", "9" * 400])
async def test_a_wait_that_is_no_time_is_400(served: Served, wait: str) -> None:
    job_id = await served.submit()

    asked = await served.http.get(f"{URL}/{job_id}", params={"wait": wait})
    preferred = await served.http.get(f"{URL}/{job_id}", headers=[(b"prefer", f"wait={wait}".encode())])

    assert asked.status_code == preferred.status_code == 400
    assert asked.json()["code"] == "invalid_query"


@pytest.mark.parametrize(
    "job_id", ["run_abc123", "x", "%00", "run_%F0%9F%A6%9C", "r" * 5000, "%2e%2e", "a b"]
)
async def test_an_unknown_run_is_404_everywhere(served: Served, job_id: str) -> None:
    answers = [
        await served.http.get(f"{URL}/{job_id}"),
        await served.http.get(f"{URL}/{job_id}/result"),
        await served.http.get(f"{URL}/{job_id}/result/raw"),
        await served.http.get(f"{URL}/{job_id}/stream"),
        await served.http.post(f"{URL}/{job_id}/cancel"),
        await served.http.delete(f"{URL}/{job_id}"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 6
    assert {answer.json()["code"] for answer in answers} == {"run_not_found"}


async def test_head_is_get_without_a_body(served: Served) -> None:
    job_id = await served.submit()

    answer = await served.http.head(f"{URL}/{job_id}")

    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 0


async def _watched(served: Served, job_id: str) -> None:
    await until(lambda: job_id in served.engine.wakeups.watches, "somebody to wait for the run")
