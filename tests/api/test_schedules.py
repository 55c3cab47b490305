"""Schedules over HTTP: making, looking, changing, firing by hand."""

from datetime import UTC, datetime

import httpx
import pytest

from outlast.engine import Engine
from outlast.runs import Caller
from outlast.schedules import MAX_RUN
from outlast.store.protocol import SCHEDULES_MAX
from outlast.timetable import Timetable, Wanted
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver

URL = "/api/v1/schedules"
RUNS = "/api/v1/runs"
ECHO = {"prompt": "Hello", "framework": "echo"}


async def _create(served: Served, **fields: object) -> dict[str, object]:
    body = {"name": "Hourly", "cron": "0 * * * *", "run": ECHO} | fields
    answer = await served.http.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def test_a_schedule_says_what_it_does_and_when_it_fires_next(served: Served) -> None:
    run = {"prompt": "Hello", "framework": "echo", "metadata": {"a": 1}}
    answer = await served.http.post(
        URL, json={"name": "Näme", "cron": "30 9 * * MON", "timezone": "Europe/Berlin", "run": run}
    )

    made = answer.json()
    next_fire = datetime.fromisoformat(made.pop("next_fire_at"))
    assert next_fire > datetime.now(UTC)
    assert (next_fire.minute, next_fire.weekday()) == (30, 0)
    assert made == {
        "schedule_id": made["schedule_id"],
        "name": "Näme",
        "cron": "30 9 * * MON",
        "timezone": "Europe/Berlin",
        "missed": "skip",
        "paused": False,
        "run": run,
        "created_at": made["created_at"],
    }
    assert answer.headers["location"] == f"{served.url}{URL}/{made['schedule_id']}"
    assert (await served.http.get(answer.headers["location"])).json()["name"] == "Näme"


async def test_schedules_are_listed_page_by_page_newest_first(served: Served) -> None:
    made = [(await _create(served, name=f"n{n}"))["schedule_id"] for n in range(5)]

    page = (await served.http.get(f"{URL}?page=2&page_size=2")).json()

    assert [one["schedule_id"] for one in page["schedules"]] == [made[2], made[1]]
    assert (page["total"], page["page"], page["page_size"]) == (5, 2, 2)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("fields", "status", "code", "says"),
    [
        ({"cron": "0 0 31 2 *"}, 422, "invalid_schedule", "day-of-month"),
        ({"cron": "* * * * * *"}, 422, "invalid_schedule", "five fields"),
        ({"cron": "x", "paused": True}, 422, "invalid_schedule", "five fields"),
        ({"timezone": "CEST/Nowhere"}, 422, "invalid_schedule", "time zone"),
        ({"missed": "run_all"}, 422, "invalid_body", "missed"),
        ({"name": ""}, 422, "invalid_body", "name"),
        ({"name": "a\0"}, 422, "invalid_schedule", "NUL"),
        ({"crom": "* * * * *"}, 422, "invalid_body", "Did you mean 'cron'?"),
        ({"run": {}}, 400, "prompt_missing", "prompt"),
        ({"run": 5}, 422, "invalid_body", "JSON object"),
        ({"run": ECHO | {"framework": "nosuch"}}, 422, "unknown_framework", "nosuch"),
        ({"run": {"prompt": "x", "agent_file": "nosuch.yaml"}}, 422, "agent_file_refused", "nosuch"),
        ({"run": ECHO | {"webhook_url": "http://127.0.0.1/"}}, 422, "webhook_refused", "127.0.0.1"),
        ({"run": ECHO | {"idempotency_key": "k"}}, 422, "invalid_schedule", "idempotency_key"),
        ({"run": ECHO | {"delay": 5}}, 422, "invalid_schedule", "delay"),
        ({"run": ECHO | {"prompt": "x" * MAX_RUN}}, 422, "invalid_schedule", str(MAX_RUN)),
    ],
)
async def test_a_schedule_that_could_not_run_is_refused_when_it_is_made(
    served: Served, fields: dict[str, object], status: int, code: str, says: str
) -> None:
    made = (await _create(served))["schedule_id"]
    body = {"name": "n", "cron": "* * * * *", "run": ECHO} | fields

    answers = [
        await served.http.post(URL, json=body),
        await served.http.patch(f"{URL}/{made}", json=fields),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert says in answer.json()["detail"]
    assert (await served.http.get(URL)).json()["total"] == 1


async def test_a_patch_changes_what_it_names(served: Served) -> None:
    made = await _create(served)
    url = f"{URL}/{made['schedule_id']}"

    renamed = (await served.http.patch(url, json={"name": "New", "cron": None, "run": None})).json()
    moved = (await served.http.patch(url, json={"timezone": "Asia/Kathmandu", "missed": "run_once"})).json()
    other = (await served.http.patch(url, json={"run": ECHO | {"prompt": "Bye"}})).json()

    assert renamed == made | {"name": "New"}
    assert moved["next_fire_at"] != made["next_fire_at"]
    assert moved["next_fire_at"][14:16] == "15"
    assert other == moved | {"run": ECHO | {"prompt": "Bye"}}


async def test_a_paused_schedule_has_no_next_fire_until_it_is_resumed(served: Served) -> None:
    made = await _create(served)
    url = f"{URL}/{made['schedule_id']}"

    paused = (await served.http.post(f"{url}/pause")).json()
    again = (await served.http.patch(url, json={"paused": True})).json()
    resumed = (await served.http.post(f"{url}/resume")).json()

    assert paused["paused"] is True
    assert "next_fire_at" not in paused
    assert again == paused
    assert resumed == made


async def test_a_trigger_makes_a_run_at_once(served: Served, driver: Driver) -> None:
    made = await _create(served, paused=True)
    url = f"{URL}/{made['schedule_id']}"

    answer = await served.http.post(f"{url}/trigger")

    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    assert answer.headers["location"] == f"{served.url}{RUNS}/{job_id}"
    assert (await served.http.get(f"{RUNS}/{job_id}")).json()["schedule_id"] == made["schedule_id"]
    listed = (await served.http.get(f"{RUNS}?schedule_id={made['schedule_id']}")).json()
    assert [run["job_id"] for run in listed["jobs"]] == [job_id]
    shown = (await served.http.get(url)).json()
    assert shown["last_run_id"] == job_id
    assert shown["paused"] is True
    assert (await driver.claim())[0].id == job_id


async def test_a_trigger_under_a_key_is_one_run(served: Served) -> None:
    url = f"{URL}/{(await _create(served))['schedule_id']}"
    key = {"Idempotency-Key": "k"}

    first = await served.http.post(f"{url}/trigger", headers=key)
    await served.http.post(f"{url}/trigger")
    again = await served.http.post(f"{url}/trigger", headers=key)

    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert (await served.http.get(RUNS)).json()["total"] == 2


async def test_a_deleted_schedule_is_gone_and_its_runs_stay(served: Served) -> None:
    url = f"{URL}/{(await _create(served))['schedule_id']}"
    job_id = (await served.http.post(f"{url}/trigger")).json()["job_id"]

    deleted = await served.http.delete(url)

    assert deleted.status_code == 204
    answers = [
        await served.http.get(url),
        await served.http.delete(url),
        await served.http.patch(url, json={}),
        await served.http.post(f"{url}/trigger"),
        await served.http.post(f"{url}/resume"),
        await served.http.get(f"{URL}/{'x' * 65}"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (404, "schedule_not_found")
    }
    assert (await served.http.get(f"{RUNS}/{job_id}")).status_code == 200


async def test_another_tenants_schedule_is_not_found(served: Served, engine: Engine) -> None:
    theirs = await Timetable(engine).create(
        Caller("other"), Wanted(name="n", cron="* * * * *", run=b'{"prompt":"p","framework":"echo"}')
    )
    url = f"{URL}/{theirs.id}"

    answers: list[httpx.Response] = [
        await served.http.get(url),
        await served.http.patch(url, json={"name": "mine"}),
        await served.http.delete(url),
        await served.http.post(f"{url}/trigger"),
        await served.http.post(f"{url}/pause"),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert (await served.http.get(URL)).json()["total"] == 0
    assert await engine.schedule(Caller("other"), theirs.id) == theirs


@pytest.mark.sqlite
async def test_there_are_so_many_schedules_and_no_more(served: Served, engine: Engine) -> None:
    timetable = Timetable(engine)
    for _ in range(SCHEDULES_MAX):
        await timetable.create(Caller(), Wanted(name="n", cron="* * * * *", run=b"{}", paused=True))

    answer = await served.http.post(URL, json={"name": "n", "cron": "* * * * *", "run": ECHO})

    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_schedules")
    assert str(SCHEDULES_MAX) in answer.json()["detail"]


@pytest.mark.sqlite
async def test_a_server_with_keys_asks_for_one(serve: Serve) -> None:
    served = await serve(api_keys=("secret",))

    assert (await served.http.get(URL)).status_code == 401
    assert (await served.http.get(URL, headers={"X-API-Key": "secret"})).status_code == 200
