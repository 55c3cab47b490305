"""`outlast schedules`, and runs for later."""

import json

import pytest

from tests.cli.conftest import Outlast
from tests.client.scripted import Reply, ScriptedServer, answer, problem
from tests.client.test_requests import ACCEPTED, SUBMIT
from tests.client.test_schedules import CREATE, LIST, ONE, SCHEDULE


def test_submit_says_when_and_where_the_run_is_to_start(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))

    outlast("submit", "x", "--delay", "90", "--queue", "big", "--priority", "5")
    outlast("submit", "x", "--run-at", "2026-12-24T18:00:00+01:00")

    bodies = [request.json for request in server.sent(SUBMIT)]
    assert bodies == [
        {"prompt": "x", "delay": 90.0, "queue": "big", "priority": 5},
        {"prompt": "x", "run_at": "2026-12-24T18:00:00+01:00"},
    ]


def test_create_prints_the_id_alone(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(CREATE, answer(SCHEDULE, 201))

    done = outlast("schedules", "create", "* * * * *", "Do it", "--agent", "work", "--timeout", "9")

    assert (done.code, done.out) == (0, "sch_1\n")
    assert "2026-11-22 01:03:00 UTC" in done.err
    assert server.requests[0].json == {
        "name": "Do it",
        "cron": "* * * * *",
        "run": {"prompt": "Do it", "agent": "work", "timeout": 9},
        "timezone": "UTC",
        "missed": "skip",
        "paused": False,
    }


def test_create_takes_the_whole_body(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(CREATE, answer(SCHEDULE, 201))

    done = outlast("schedules", "create", "* * * * *", "--run", '{"prompt": "p", "retry": {}}', "--name", "n")

    assert done.code == 0
    assert server.requests[0].json["run"] == {"prompt": "p", "retry": {}}


@pytest.mark.parametrize(
    "arguments", [(), ("p", "--run", "{}"), ("--run", "[]"), ("--run", '{"prompt":"p"}', "--queue", "q")]
)
def test_create_wants_to_be_told_once_what_to_run(outlast: Outlast, arguments: tuple[str, ...]) -> None:
    assert outlast("schedules", "create", "* * * * *", *arguments).code == 2


def test_list_is_for_people(server: ScriptedServer, outlast: Outlast) -> None:
    paused = {name: value for name, value in SCHEDULE.items() if name != "next_fire_at"} | {"paused": True}
    server.on(LIST, answer({"schedules": [SCHEDULE, paused], "total": 7, "page": 1, "page_size": 2}))

    done = outlast("schedules", "list", "--page-size", "2")

    assert done.out.splitlines() == [
        "SCHEDULE  NEXT                     CRON           NAME",
        "sch_1     2026-11-22 01:03:00 UTC  * * * * * UTC  n",
        "sch_1     paused                   * * * * * UTC  n",
    ]
    assert done.err == "2 of 7 schedules.\n"


def test_show_tells_what_became_of_the_last_fire(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(f"GET {ONE}", answer(SCHEDULE | {"last_error": "No such\x1b file."}))

    done = outlast("schedules", "show", "sch_1")

    assert "Error:     No such  file." in done.out
    assert json.loads(outlast("schedules", "show", "sch_1", "--json").out)["name"] == "n"


def test_pause_resume_trigger_delete(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(f"POST {ONE}/pause", answer(SCHEDULE | {"paused": True}))
    server.on(f"POST {ONE}/resume", answer(SCHEDULE))
    server.on(f"POST {ONE}/trigger", answer(ACCEPTED, 202))
    server.on(f"DELETE {ONE}", Reply(204))

    assert "paused" in outlast("schedules", "pause", "sch_1").out
    assert "01:03:00" in outlast("schedules", "resume", "sch_1").out
    assert outlast("schedules", "trigger", "sch_1").out == "run_01k\n"
    assert outlast("schedules", "delete", "sch_1").code == 0


def test_a_schedule_that_is_not_there_is_said_so(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(f"GET {ONE}", problem(404, "schedule_not_found", "There is no schedule sch_1."))

    done = outlast("schedules", "show", "sch_1")

    assert done.code == 3
    assert "outlast schedules list" in done.err
