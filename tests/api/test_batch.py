"""Many runs in one request: each has the outcome that it would have had alone."""

import asyncio

import pytest

from outlast.engine import Engine
from outlast.runs import Caller
from outlast.store.protocol import Page, RunFilter
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver

RUNS = "/api/v1/runs"
URL = f"{RUNS}/batch"


def echo(prompt: str, **fields: object) -> dict[str, object]:
    return {"prompt": prompt, "framework": "echo", **fields}


async def _total(engine: Engine) -> int:
    return (await engine.list_runs(Caller(), RunFilter(), Page())).total


async def test_a_thousand_runs_are_kept_and_queued_in_their_order(
    served: Served, engine: Engine, driver: Driver
) -> None:
    answer = await served.http.post(URL, json={"runs": [echo(f"task {n}") for n in range(1000)]})

    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["queued"] * 1000
    assert results[7]["poll_url"] == f"{served.url}{RUNS}/{results[7]['job_id']}"
    assert await _total(engine) == 1000
    claimed = [(await driver.claim())[0].id for _ in range(20)]
    assert claimed == [result["job_id"] for result in results[:20]]


async def test_one_that_is_refused_harms_no_other(served: Served, engine: Engine) -> None:
    bad = [
        {"prompt": " "},
        [],
        echo("x", timeuot=5),
        echo("x", webhook_url="http://127.0.0.1/"),
        echo("x", framework="nosuch"),
        echo("x", idempotency_key="é"),
    ]

    answer = await served.http.post(URL, json={"runs": [echo("first"), *bad, echo("last")]})

    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [result.get("code", result["status"]) for result in results] == [
        "queued",
        "prompt_missing",
        "invalid_body",
        "invalid_body",
        "webhook_refused",
        "unknown_framework",
        "invalid_body",
        "queued",
    ]
    assert [result["status"] for result in results[1:3]] == [400, 422]
    assert "Did you mean 'timeout'?" in results[3]["detail"]
    assert await _total(engine) == 2


async def test_a_refusal_is_the_one_that_a_single_submit_gets(served: Served) -> None:
    body = echo("x", timeout=-1)

    alone = await served.http.post(RUNS, json=body)
    batch = await served.http.post(URL, json={"runs": [body]})

    assert batch.json()["results"] == [alone.json()]


async def test_keys_work_inside_a_batch_as_they_do_outside(served: Served, engine: Engine) -> None:
    before = await served.http.post(RUNS, json=echo("before"), headers={"Idempotency-Key": "0"})
    runs = [
        echo("before", idempotency_key="0"),
        echo("a", idempotency_key="1"),
        echo("a", idempotency_key="1"),
        echo("b", idempotency_key="1"),
        echo("a", idempotency_key="1", idempotency_scope="none"),
    ]

    answer = await served.http.post(URL, json={"runs": runs})

    known, first, same, other, without = answer.json()["results"]
    assert answer.status_code == 207
    assert (known["job_id"], known["replayed"]) == (before.json()["job_id"], True)
    assert same == first | {"replayed": True}
    assert "replayed" not in first
    assert (other["code"], other["job_id"]) == ("idempotency_conflict", first["job_id"])
    assert without["job_id"] != first["job_id"]
    assert await _total(engine) == 3


async def test_a_batch_under_a_key_can_be_sent_again(served: Served, engine: Engine) -> None:
    runs = [echo(f"task {n}", idempotency_key="own") for n in range(5)]
    key = {"Idempotency-Key": "batch"}

    answers = await asyncio.gather(
        *[served.http.post(URL, json={"runs": runs}, headers=key) for _ in range(5)]
    )

    ids = [[result["job_id"] for result in answer.json()["results"]] for answer in answers]
    assert all(one == ids[0] for one in ids)
    assert await _total(engine) == len(set(ids[0])) == 5
    alone = await served.http.post(RUNS, json=runs[3], headers={"Idempotency-Key": "batch:3"})
    assert alone.json()["job_id"] == ids[0][3]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"runs": []}, "runs"),
        ({"runs": [{}] * 1001}, "runs"),
        ({}, "runs"),
        ({"runs": {}}, "runs"),
        ([], "JSON object"),
        ({"jobs": []}, "Did you mean 'runs'?"),
    ],
)
async def test_what_is_no_batch_is_refused_whole(served: Served, body: object, says: str) -> None:
    answer = await served.http.post(URL, json=body)

    assert answer.status_code == 422
    assert says in answer.json()["detail"]


async def test_nothing_of_a_batch_is_taken_by_a_server_that_drains(served: Served, engine: Engine) -> None:
    served.drain()

    answer = await served.http.post(URL, json={"runs": [echo("x")]})

    assert answer.status_code == 503
    assert await _total(engine) == 0


@pytest.mark.sqlite
async def test_other_requests_are_answered_while_a_batch_is_read(serve: Serve) -> None:
    served = await serve()
    batch = asyncio.create_task(
        served.http.post(URL, json={"runs": [{"prompt": "x", "agent_yaml": "- no\n- yaml"}] * 1000})
    )

    looks = 0
    while not batch.done():
        assert (await served.http.get("/stats")).status_code == 200
        looks += 1

    assert {result["code"] for result in (await batch).json()["results"]} == {"invalid_agent_yaml"}
    assert looks > 5


HOSTILE = [
    b'{"prompt": ' + b"[" * 100_000,
    b'{"prompt": "x", "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "x", "timeout": NaN}',
    b'{"prompt": "x", "delay": 1e400}',
    b'{"prompt": "x", "timeout": 9223372036854775808}',
    b'{"prompt": "\xff"}',
    b'{"prompt": "x", "session_id": "\\u0000"}',
    b"",
]


@pytest.mark.sqlite
@pytest.mark.parametrize("member", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    ("url", "around"),
    [(URL, b'{"runs": [%s]}'), ("/api/v1/schedules", b'{"name": "n", "cron": "* * * * *", "run": %s}')],
)
async def test_hostile_members_are_refused_and_break_nothing(
    served: Served, engine: Engine, url: str, around: bytes, member: bytes
) -> None:
    answer = await served.http.post(
        url, content=around % member, headers={"content-type": "application/json"}
    )

    assert answer.status_code in (207, 422), answer.text
    assert await _total(engine) == 0
