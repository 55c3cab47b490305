"""Many runs at once, and schedules: what the client sends, and what it makes of the answers."""

import pytest

from outlast.client import Accepted, AsyncClient, Client, Conflict, Invalid, NotFound, Unreachable
from tests.client.scripted import HANG_UP, Reply, ScriptedServer, answer, problem
from tests.client.test_requests import ACCEPTED

BATCH = "POST /api/v1/runs/batch"
CREATE, LIST = "POST /api/v1/schedules", "GET /api/v1/schedules"
ONE = "/api/v1/schedules/sch_1"
SCHEDULE = {
    "schedule_id": "sch_1",
    "name": "n",
    "cron": "* * * * *",
    "timezone": "UTC",
    "missed": "skip",
    "paused": False,
    "run": {"prompt": "p"},
    "created_at": "2026-11-22T01:02:03.004Z",
    "next_fire_at": "2026-11-22T01:03:00.000Z",
}
PROBLEM = {"type": "t", "title": "t", "status": 422, "detail": "Not so.", "code": "invalid_body"}
TAKEN = PROBLEM | {"status": 409, "code": "idempotency_conflict", "job_id": "run_2"}


def test_each_of_many_is_accepted_or_an_error(server: ScriptedServer, client: Client) -> None:
    results = [ACCEPTED, PROBLEM, TAKEN, ACCEPTED | {"replayed": True}]
    server.on(BATCH, answer({"results": results}, 207))

    outcomes = client.submit_many(
        [
            {"prompt": "a", "delay": 5},
            {"prompt": ""},
            {"prompt": "b"},
            {"prompt": "c", "idempotency_key": "k"},
        ]
    )

    first, refused, taken, known = outcomes
    assert isinstance(first, Accepted)
    assert isinstance(known, Accepted)
    assert (first.job_id, first.replayed, known.replayed) == ("run_01k", False, True)
    assert isinstance(refused, Invalid)
    assert (refused.detail, refused.code) == ("Not so.", "invalid_body")
    assert isinstance(taken, Conflict)
    assert taken.job_id == "run_2"


def test_many_whose_answer_is_lost_are_sent_again_under_the_same_keys(
    server: ScriptedServer, client: Client
) -> None:
    server.on(BATCH, HANG_UP, answer({"results": [ACCEPTED | {"replayed": True}] * 3}))

    outcomes = client.submit_many(
        [
            {"prompt": "a"},
            {"prompt": "b", "idempotency_key": "own"},
            {"prompt": "c", "idempotency_key": "k", "idempotency_scope": "none"},
        ]
    )

    first, second = (request.json["runs"] for request in server.sent(BATCH))
    assert first == second
    assert isinstance(first, list)
    keys = [run["idempotency_key"] for run in first]
    assert keys[1] == "own"
    assert len(set(keys)) == 3
    assert "k" not in keys
    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Accepted)] == [False, True, False]


def test_a_schedule_is_made_changed_and_forgotten(server: ScriptedServer, client: Client) -> None:
    server.on(CREATE, answer(SCHEDULE, 201))
    server.on(LIST, answer({"schedules": [SCHEDULE], "total": 1, "page": 1, "page_size": 20}))
    server.on(f"PATCH {ONE}", answer(SCHEDULE))
    server.on(f"POST {ONE}/pause", answer(SCHEDULE | {"paused": True}))
    server.on(f"POST {ONE}/resume", answer(SCHEDULE))
    server.on(f"POST {ONE}/trigger", answer(ACCEPTED, 202))
    server.on(f"DELETE {ONE}", HANG_UP, problem(404, "schedule_not_found", "Gone."))

    made = client.create_schedule("n", "* * * * *", {"prompt": "p"}, missed="skip")
    (listed,) = client.list_schedules().schedules
    client.change_schedule("sch_1", cron="5 * * * *")
    paused = client.pause_schedule("sch_1")
    client.resume_schedule("sch_1")
    accepted = client.trigger_schedule("sch_1")
    client.delete_schedule("sch_1")

    assert made.next_fire_at is not None
    assert listed.run == {"prompt": "p"}
    assert paused.paused
    assert accepted.job_id == "run_01k"
    assert server.requests[0].json == {
        "name": "n", "cron": "* * * * *", "run": {"prompt": "p"}, "missed": "skip"
    }  # fmt: skip
    assert server.sent(f"PATCH {ONE}")[0].json == {"cron": "5 * * * *"}


def test_a_trigger_is_repeated_under_its_key_and_a_creation_is_not_repeated(
    server: ScriptedServer, client: Client
) -> None:
    server.on(f"POST {ONE}/trigger", HANG_UP, answer(ACCEPTED, 202))
    server.on(CREATE, HANG_UP)

    client.trigger_schedule("sch_1")
    with pytest.raises(Unreachable):
        client.create_schedule("n", "* * * * *", {"prompt": "p"})

    keys = {request.headers["idempotency-key"] for request in server.sent(f"POST {ONE}/trigger")}
    assert len(keys) == 1
    assert len(server.sent(CREATE)) == 1


async def test_the_async_client_does_the_same(server: ScriptedServer) -> None:
    server.on(BATCH, answer({"results": [ACCEPTED]}))
    server.on(f"GET {ONE}", answer(SCHEDULE))
    server.on(f"DELETE {ONE}", Reply(204))

    async with AsyncClient(server.url) as client:
        (accepted,) = await client.submit_many([{"prompt": "p"}])
        schedule = await client.get_schedule("sch_1")
        await client.delete_schedule("sch_1")
        with pytest.raises(NotFound):
            await client.pause_schedule("sch_1")

    assert isinstance(accepted, Accepted)
    assert schedule.schedule_id == "sch_1"
