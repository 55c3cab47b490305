"""One key, one run: for as long as the run is kept."""

import asyncio

import pytest

from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"
KEY = {"Idempotency-Key": "unique-key-123"}


async def test_the_same_key_and_body_are_answered_with_the_first_run(served: Served) -> None:
    first = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    again = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    assert first.status_code == again.status_code == 202
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


async def test_a_replay_tells_the_runs_present_status(served: Served, driver: Driver) -> None:
    await served.http.post(URL, json={"prompt": "Task", "framework": "echo"}, headers=KEY)
    await driver.succeed()

    again = await served.http.post(URL, json={"prompt": "Task", "framework": "echo"}, headers=KEY)

    assert again.json()["status"] == "succeeded"


async def test_another_body_under_the_same_key_is_409_and_names_the_run(served: Served) -> None:
    first = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    other = await served.http.post(URL, json={"prompt": "Other"}, headers=KEY)

    assert other.status_code == 409
    problem = other.json()
    assert problem["code"] == "idempotency_conflict"
    assert problem["job_id"] == first.json()["job_id"]
    assert problem["message"] == problem["detail"]
    assert problem["job_id"] in problem["message"]


@pytest.mark.parametrize(
    "same",
    [
        b'{ "session_id": "s", "prompt": "T\\u0061sk" }',
        b'{"prompt":"Task","session_id":"s","timeout":null}',
        b'{"prompt":"Task","session_id":"s","idempotency_key":"another","idempotency_scope":"global"}',
    ],
)
async def test_bodies_that_say_the_same_are_the_same(served: Served, same: bytes) -> None:
    headers = {**KEY, "content-type": "application/json"}
    first = await served.http.post(URL, json={"prompt": "Task", "session_id": "s"}, headers=KEY)

    again = await served.http.post(URL, content=same, headers=headers)

    assert again.json()["job_id"] == first.json()["job_id"]


async def test_a_default_written_out_is_another_body(served: Served) -> None:
    await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    other = await served.http.post(URL, json={"prompt": "Task", "timeout": 3600}, headers=KEY)

    assert other.status_code == 409


async def test_the_bodys_key_works_like_the_header(served: Served) -> None:
    first = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    again = await served.http.post(URL, json={"prompt": "Task", "idempotency_key": "unique-key-123"})

    assert again.json()["job_id"] == first.json()["job_id"]


async def test_the_header_wins_over_the_bodys_key(served: Served) -> None:
    first = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    again = await served.http.post(URL, json={"prompt": "Task", "idempotency_key": "other"}, headers=KEY)

    assert again.json()["job_id"] == first.json()["job_id"]


async def test_scope_none_switches_off_the_bodys_key_and_not_the_header(served: Served) -> None:
    body = {"prompt": "Task", "idempotency_key": "k", "idempotency_scope": "none"}

    ids = [(await served.http.post(URL, json=body)).json()["job_id"] for _ in range(2)]
    under_header = [(await served.http.post(URL, json=body, headers=KEY)).json()["job_id"] for _ in range(2)]

    assert len(set(ids)) == 2
    assert len(set(under_header)) == 1


async def test_scope_session_makes_the_key_unique_in_its_session(served: Served) -> None:
    def body(session: str) -> dict[str, str]:
        return {
            "prompt": "Task",
            "session_id": session,
            "idempotency_key": "k",
            "idempotency_scope": "session",
        }

    a, again, b = [
        (await served.http.post(URL, json=body(name))).json()["job_id"] for name in ("a", "a", "b")
    ]

    assert a == again
    assert a != b


async def test_a_key_is_answered_even_when_the_run_could_not_be_accepted_any_more(served: Served) -> None:
    first = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)
    served.drain()

    again = await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)

    assert again.status_code == 202
    assert again.json()["job_id"] == first.json()["job_id"]


async def test_delete_frees_the_key(served: Served) -> None:
    first = (await served.http.post(URL, json={"prompt": "Task"}, headers=KEY)).json()["job_id"]
    await served.http.post(f"{URL}/{first}/cancel")
    await served.http.delete(f"{URL}/{first}")

    second = await served.http.post(URL, json={"prompt": "Other"}, headers=KEY)

    assert second.status_code == 202
    assert second.json()["job_id"] != first


async def test_twenty_at_once_make_one_run(served: Served) -> None:
    answers = await asyncio.gather(
        *(served.http.post(URL, json={"prompt": "Task"}, headers=KEY) for _ in range(20))
    )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


@pytest.mark.sqlite
@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "schl\u00fcssel"])
async def test_a_key_that_is_none_is_refused(served: Served, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]

    answer = await served.http.post(URL, json={"prompt": "Task"}, headers=headers)

    assert answer.status_code == 422
