"""The commands that look at runs and end them."""

import json

import pytest

from tests.cli.conftest import Outlast
from tests.client.scripted import Reply, ScriptedServer, answer, events, problem, vacant_url
from tests.client.test_requests import ACCEPTED, CANCEL, DELETE, RUN, STATUS, status
from tests.client.test_stream import DONE, END, HALF, LOG, QUEUED, STREAM

HALF_DONE = {"percentage": 50, "steps_completed": 1, "steps_total": 2}


def test_status_is_for_people(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(
        STATUS,
        answer(
            status(
                "running",
                progress=HALF_DONE | {"current_step": "Researching\x1b[2J"},
                attempt=2,
                session_id="project-alpha",
                framework="praisonai",
                runner="builtin",
                started_at="2026-11-22T01:02:04.000Z",
                usage={"model_calls": 3, "input_tokens": 1200, "output_tokens": 80, "cost_usd": 0.0125},
                waiting={"kind": "person"},
            )
        ),
    )  # fmt: skip

    done = outlast("status", RUN)

    assert done.code == 0
    assert done.out.splitlines() == [
        f"Run:       {RUN}",
        "Status:    running, waiting for person",
        "Progress:  50%  1 of 2 steps  Researching [2J",
        "Attempt:   2",
        "Session:   project-alpha",
        "Framework: praisonai, run by builtin",
        "Created:   2026-11-22 01:02:03 UTC",
        "Started:   2026-11-22 01:02:04 UTC",
        "Model:     3 calls, 1200 tokens in, 80 out, $0.012500",
    ]


def test_status_json_is_what_the_server_said(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, answer(status("queued", unheard_of=[1])))

    assert json.loads(outlast("status", RUN, "--json").out) == status("queued", unheard_of=[1])


@pytest.mark.parametrize(
    ("result", "out"), [("line\nline", "line\nline\n"), ({"a": 1}, '{\n  "a": 1\n}\n'), (None, "null\n")]
)
def test_result_is_printed_alone(server: ScriptedServer, outlast: Outlast, result: object, out: str) -> None:
    server.on(f"{STATUS}/result", answer(status("succeeded", result=result)))

    done = outlast("result", RUN)

    assert (done.code, done.out, done.err) == (0, out, "")


@pytest.mark.parametrize(("name", "code"), [("failed", 1), ("cancelled", 1), ("running", 3)])
def test_no_result_tells_an_ended_run_from_a_running_one(
    server: ScriptedServer, outlast: Outlast, name: str, code: int
) -> None:
    server.on(f"{STATUS}/result", problem(400, "run_not_succeeded", f"Run {RUN} is {name}."))
    server.on(STATUS, answer(status(name)))

    done = outlast("result", RUN)

    assert (done.code, done.out) == (code, "")
    assert name in done.err


def test_result_can_wait(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, answer(status("succeeded")))
    server.on(f"{STATUS}/result", answer(status("succeeded", result="4")))

    assert outlast("result", RUN, "--wait").out == "4\n"


def test_stream_is_for_people(server: ScriptedServer, outlast: Outlast) -> None:
    requeued = 'id: 9\ndata: {"event":"status","data":{"status":"queued","message":"The worker was lost."}}'
    half_done = json.dumps(HALF_DONE | {"current_step": "Write"})
    steps = f'id: 10\ndata: {{"event":"progress","data":{half_done}}}'
    again = 'id: 11\ndata: {"event":"status","data":{"status":"running","attempt":2}}'
    call = 'id: 12\ndata: {"event":"model_call","data":{"model":"m"}}'
    paid = (
        'id: 13\ndata: {"event":"model_call","data":{"model":"m","ms":1500,"input_tokens":9,"output_tokens":2,'
        '"cost_usd":0.00021}}'
    )
    end = END.replace("id: 4", "id: 14")
    server.on(STREAM, events(QUEUED, HALF, LOG, requeued, steps, again, call, paid, end, DONE))
    server.on(STATUS, answer(status("running")), answer(status("succeeded")))
    server.on(f"{STATUS}/result", answer(status("succeeded", result="4")))

    done = outlast("stream", RUN)

    assert done.code == 0
    assert done.out.splitlines() == [
        "queued",
        "[50%]",
        "hello",
        "queued: The worker was lost.",
        "[50%] Write (1 of 2)",
        "running (attempt 2)",
        'model_call {"model":"m"}',
        "model m answered: 9 tokens in, 2 out, 1.5s, $0.000210",
        "4",
    ]


def test_a_stream_of_a_failed_run_is_exit_1(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STREAM, Reply(204))
    server.on(STATUS, answer(status("failed", error="No.")))

    done = outlast("stream", RUN, "--json", "--after", "7")

    assert (done.code, done.out) == (1, "")
    assert server.sent(STREAM)[0].headers["last-event-id"] == "7"


def test_list_is_a_table(server: ScriptedServer, outlast: Outlast) -> None:
    jobs = [status("running", session_id="s"), status("queued")]
    server.on("GET /api/v1/runs", answer({"jobs": jobs, "total": 41, "page": 1, "page_size": 2}))

    done = outlast("list", "--status", "running", "--session-id", "s", "--page-size", "2")

    assert done.out.splitlines() == [
        "RUN      STATUS   PROGRESS  CREATED                  SESSION",
        "run_01k  running  0%        2026-11-22 01:02:03 UTC  s",
        "run_01k  queued   0%        2026-11-22 01:02:03 UTC",
    ]
    assert done.err == "2 of 41 runs; the next ones: --page 2.\n"
    assert server.requests[0].query == {
        "status": "running", "session_id": "s", "page": "1", "page_size": "2"
    }  # fmt: skip


def test_list_all_is_json_lines_of_every_page(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(
        "GET /api/v1/runs",
        answer({"jobs": [status("queued", new="field")], "total": 2, "next_cursor": "c"}),
        answer({"jobs": [status("failed")], "total": 2}),
    )

    done = outlast("list", "--all", "--json")

    first, second = (json.loads(line) for line in done.out.splitlines())
    assert first == status("queued", new="field")
    assert second["status"] == "failed"


def test_cancel_says_what_the_run_is_now(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(CANCEL, answer({"job_id": RUN, "status": "cancelled", "cancelled_at": "2026-11-22T01:05:00Z"}))

    assert outlast("cancel", RUN).out == f"Run {RUN} is cancelled.\n"
    assert json.loads(outlast("cancel", RUN, "--json").out)["cancelled_at"] == "2026-11-22T01:05:00Z"


def test_delete_removes_a_run(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(DELETE, Reply(204))

    assert (outlast("delete", RUN).code, len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("http_status", "code", "exit_code", "hint"),
    [
        (400, "run_active", 3, "outlast cancel"),
        (401, "unauthorized", 3, "OUTLAST_API_KEY"),
        (404, "run_not_found", 3, "outlast list"),
        (500, "internal_error", 4, "log"),
    ],
)
def test_an_error_says_the_next_step(
    server: ScriptedServer, outlast: Outlast, http_status: int, code: str, exit_code: int, hint: str
) -> None:
    server.on(DELETE, problem(http_status, code, "The server's sentence."))

    done = outlast("delete", RUN)

    assert (done.code, done.out) == (exit_code, "")
    assert done.err.startswith(f"outlast: The server's sentence. ({code})\n")
    assert hint in done.err


def test_nobody_at_home_is_exit_4_and_says_how_to_start_a_server(outlast: Outlast) -> None:
    done = outlast("status", RUN, "--api-url", vacant_url())

    assert (done.code, done.out) == (4, "")
    assert "Nothing answers at http://127.0.0.1:" in done.err
    assert "outlast serve" in done.err


def test_an_address_that_is_none_is_exit_2(outlast: Outlast) -> None:
    assert outlast("status", RUN, "--api-url", "localhost:8005").code == 2


@pytest.mark.parametrize("command", ["status", "result", "stream", "cancel", "delete"])
def test_an_empty_run_id_is_refused_here(server: ScriptedServer, outlast: Outlast, command: str) -> None:
    done = outlast(command, " ")

    assert done.code == 2
    assert "RUN_ID" in done.err


def test_retry_prints_the_new_runs_id(server: ScriptedServer, outlast: Outlast) -> None:
    retried = f"POST /api/v1/runs/{RUN}/retry"
    server.on(retried, answer(ACCEPTED | {"job_id": "run_new"}, 202))

    resumed, fresh = outlast("retry", RUN), outlast("retry", RUN, "--fresh")

    assert (resumed.code, resumed.out, fresh.out) == (0, "run_new\n", "run_new\n")
    assert [request.json for request in server.sent(retried)] == [{"mode": "resume"}, {"mode": "fresh"}]
    assert all(request.headers["idempotency-key"] for request in server.sent(retried))


def test_calls_are_lines(server: ScriptedServer, outlast: Outlast) -> None:
    at = "2026-11-22T01:02:03.004Z"
    one = {
        "seq": 3,
        "attempt": 1,
        "at": at,
        "how": "live",
        "model": "m",
        "status": 200,
        "input_tokens": 5,
        "ms": 7,
    }
    way = {"call": 3, "field": "messages[0].content", "was": "a", "is": "b"}
    two = {"seq": 9, "attempt": 2, "at": at, "how": "exact", "diverged": way}
    server.on(
        f"GET /api/v1/runs/{RUN}/calls", answer({"calls": [one], "next_after": 3}), answer({"calls": [two]})
    )

    done = outlast("calls", RUN)

    assert done.code == 0
    assert done.out.splitlines() == [
        "    3  attempt 1  live        m  200  5 in, 0 out  7 ms",
        "    9  attempt 2  exact       0 in, 0 out  0 ms  not as call 3: messages[0].content was a, is b",
    ]
