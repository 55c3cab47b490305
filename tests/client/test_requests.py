"""What the client sends, and what it makes of the answers."""

import json

import pytest

from outlast.client import (
    Client,
    Conflict,
    Invalid,
    Misconfigured,
    NotFound,
    RunActive,
    RunFinished,
    RunNotSucceeded,
    ServerError,
    Unauthorized,
    Unreachable,
    WaitTimedOut,
)
from tests.client.scripted import (
    HANG_UP,
    JsonObject,
    Reply,
    Request,
    ScriptedServer,
    answer,
    problem,
    vacant_url,
)

RUN = "run_01k"
ACCEPTED = {
    "job_id": RUN,
    "status": "queued",
    "created_at": "2026-11-22T01:02:03.004Z",
    "poll_url": "http://127.0.0.1:8005/api/v1/runs/run_01k",
    "stream_url": "http://127.0.0.1:8005/api/v1/runs/run_01k/stream",
}
SUBMIT, STATUS, CANCEL = "POST /api/v1/runs", f"GET /api/v1/runs/{RUN}", f"POST /api/v1/runs/{RUN}/cancel"
DELETE = f"DELETE /api/v1/runs/{RUN}"


def status(name: str, **more: object) -> JsonObject:
    return {
        "job_id": RUN,
        "status": name,
        "created_at": ACCEPTED["created_at"],
        "progress": {"percentage": 0},
        **more,
    }


def test_a_submit_sends_what_was_said_and_nothing_else(server: ScriptedServer, client: Client) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))

    accepted = client.submit("Grüße", framework="crewai", timeout=5, session_id=None, metadata={"a": 1})

    assert accepted.job_id == RUN
    assert json.loads(accepted.body) == ACCEPTED
    assert server.requests[0].json == {
        "prompt": "Grüße", "framework": "crewai", "timeout": 5, "metadata": {"a": 1}
    }  # fmt: skip
    assert server.requests[0].headers["content-type"] == "application/json"


def test_a_submit_whose_answer_is_lost_is_sent_again_under_the_same_key(
    server: ScriptedServer, client: Client
) -> None:
    server.on(
        SUBMIT,
        HANG_UP,
        problem(503, "draining", "Later."),
        answer(ACCEPTED, 202, Idempotency_Replayed="true"),
    )

    accepted = client.submit("x")

    keys = [request.headers["idempotency-key"] for request in server.sent(SUBMIT)]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert not accepted.replayed


def test_two_submits_have_two_keys(server: ScriptedServer, client: Client) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))

    client.submit("x")
    client.submit("x")

    assert len({request.headers["idempotency-key"] for request in server.requests}) == 2


def test_the_callers_key_is_the_one_that_counts(server: ScriptedServer, client: Client) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202, Idempotency_Replayed="true"))

    accepted = client.submit("x", idempotency_key="order-1", idempotency_scope="session", session_id="s")

    assert server.requests[0].headers["idempotency-key"] == "order-1"
    assert server.requests[0].json["idempotency_scope"] == "session"
    assert accepted.replayed


def test_scope_none_leaves_the_callers_key_out_of_the_header(server: ScriptedServer, client: Client) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))

    client.submit("x", idempotency_key="order-1", idempotency_scope="none")

    assert server.requests[0].headers["idempotency-key"] != "order-1"
    assert server.requests[0].json["idempotency_key"] == "order-1"


def test_a_key_that_no_header_can_carry_is_left_for_the_server_to_refuse(
    server: ScriptedServer, client: Client
) -> None:
    server.on(SUBMIT, problem(422, "invalid_body", "The key is not ASCII."))

    with pytest.raises(Invalid, match="not ASCII"):
        client.submit("x", idempotency_key="schlüssel\n")

    assert server.requests[0].json["idempotency_key"] == "schlüssel\n"


def test_the_api_key_comes_from_the_environment(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_URL", f"{server.url}/under")
    monkeypatch.setenv("OUTLAST_API_KEY", "s3cret")
    server.on("GET /under/api/v1/runs/run_01k", answer(status("queued")))

    with Client() as client:
        client.get(RUN)

    assert server.requests[0].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8005", "ftp://host", "http://", "http://[::1", "http://h:port"]
)
def test_an_address_that_is_none_is_refused_before_any_request(url: str) -> None:
    with pytest.raises(Misconfigured):
        Client(url or "http:")


def test_an_api_key_with_a_line_end_is_refused_before_any_request() -> None:
    with pytest.raises(Misconfigured, match="control character"):
        Client(api_key="key\n")


@pytest.mark.parametrize(
    ("http_status", "code", "kind"),
    [
        (400, "prompt_missing", Invalid),
        (400, "run_not_succeeded", RunNotSucceeded),
        (400, "run_active", RunActive),
        (401, "unauthorized", Unauthorized),
        (404, "run_not_found", NotFound),
        (409, "idempotency_conflict", Conflict),
        (413, "body_too_large", Invalid),
        (422, "invalid_body", Invalid),
        (500, "internal_error", ServerError),
    ],
)
def test_an_error_has_a_class_and_carries_the_servers_words(
    server: ScriptedServer, client: Client, http_status: int, code: str, kind: type[ServerError]
) -> None:
    server.on(STATUS, problem(http_status, code, "The server's sentence."))

    with pytest.raises(kind) as caught:
        client.get(RUN)

    assert (caught.value.status, caught.value.code, caught.value.detail) == (
        http_status, code, "The server's sentence."
    )  # fmt: skip
    assert len(server.requests) == 1


def test_a_conflict_names_the_run_that_has_the_key(server: ScriptedServer, client: Client) -> None:
    server.on(SUBMIT, answer({"code": "idempotency_conflict", "detail": "Taken.", "job_id": RUN}, 409))

    with pytest.raises(Conflict) as caught:
        client.submit("x", idempotency_key="k")

    assert caught.value.job_id == RUN


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"job_id": 1}', b""])
def test_an_answer_that_is_no_outlast_servers_is_an_error(
    server: ScriptedServer, client: Client, body: bytes
) -> None:
    server.on(STATUS, Reply(200, body))

    with pytest.raises(ServerError, match="did not answer as an Outlast server") as caught:
        client.get(RUN)

    assert caught.value.code == "unexpected_answer"


def test_an_error_page_of_a_proxy_still_has_a_sentence(server: ScriptedServer, client: Client) -> None:
    server.on(STATUS, Reply(418, b"<html>"))

    with pytest.raises(Exception, match="The server answered 418 I'm a Teapot"):
        client.get(RUN)


def test_nobody_at_home_is_unreachable_and_says_where() -> None:
    url = vacant_url()

    with Client(url, retry_s=0.2) as client, pytest.raises(Unreachable, match=f"Nothing answers at {url}"):
        client.get(RUN)


def test_a_status_is_typed(server: ScriptedServer, client: Client) -> None:
    server.on(
        STATUS,
        answer(
            status(
                "running",
                progress={"percentage": 50.0, "current_step": "Researching", "steps_total": 2},
                usage={"model_calls": 1, "input_tokens": 10, "output_tokens": 2},
                something_new=True,
            )
        ),
    )

    run = client.get(RUN)

    assert run.progress.percentage == 50
    assert run.progress.current_step == "Researching"
    assert run.usage is not None
    assert run.usage.model_calls == 1
    assert run.created_at.isoformat() == "2026-11-22T01:02:03.004000+00:00"
    assert json.loads(run.body)["something_new"] is True


@pytest.mark.parametrize("value", ["text", {"a": [1, None]}, 4, None, False, ""])
def test_any_json_value_may_be_a_result(server: ScriptedServer, client: Client, value: object) -> None:
    server.on(f"{STATUS}/result", answer(status("succeeded", result=value, duration_seconds=1.5)))

    assert client.result(RUN).result == value


def test_a_large_result_is_fetched_from_where_it_is(server: ScriptedServer, client: Client) -> None:
    at = f"{server.url}/api/v1/runs/{RUN}/result/raw"
    server.on(f"{STATUS}/result", answer(status("succeeded", result_url=at, result_size=10)))
    server.on(f"{STATUS}/result/raw", Reply(200, b'["very large"]'))

    result = client.result(RUN)

    assert result.result == ["very large"]
    assert json.loads(result.body)["result"] == ["very large"]


def test_an_id_cannot_leave_its_place_in_the_path(server: ScriptedServer, client: Client) -> None:
    with pytest.raises(NotFound):
        client.get("../x?y")

    assert server.requests[0].path == "/api/v1/runs/..%2Fx%3Fy"


def test_waiting_lets_the_server_hold_the_request(server: ScriptedServer, client: Client) -> None:
    server.on(
        STATUS, answer(status("queued")), answer(status("running")), answer(status("failed", error="No."))
    )

    run = client.wait(RUN)

    assert (run.status, run.error) == ("failed", "No.")
    assert [request.query.get("wait") for request in server.requests] == [None, "30", "30"]


def test_waiting_outlasts_a_server_that_restarts(server: ScriptedServer, client: Client) -> None:
    server.on(
        STATUS, answer(status("running")), HANG_UP, HANG_UP, problem(503, "draining", "Later."),
        answer(status("succeeded")),
    )  # fmt: skip

    assert client.wait(RUN).status == "succeeded"


def test_waiting_ends_when_the_time_is_up(server: ScriptedServer, client: Client) -> None:
    server.on(STATUS, answer(status("running")))

    with pytest.raises(WaitTimedOut, match=r"Run run_01k is running after 0\.2 s; it goes on"):
        client.wait(RUN, timeout_s=0.2)


def test_watching_tells_every_status(server: ScriptedServer, client: Client) -> None:
    server.on(STATUS, answer(status("queued")), answer(status("running")), answer(status("cancelled")))

    seen = [run.status for run in client.watch(RUN, every_s=0.01)]

    assert seen == ["queued", "running", "cancelled"]


def test_a_cancel_whose_answer_is_lost_is_still_a_cancel(server: ScriptedServer, client: Client) -> None:
    server.on(CANCEL, HANG_UP, problem(400, "run_finished", "It was cancelled before."))
    server.on(STATUS, answer(status("cancelled", completed_at="2026-11-22T01:05:00Z")))

    cancelled = client.cancel(RUN)

    assert cancelled.status == "cancelled"
    assert cancelled.cancelled_at is not None


def test_a_cancel_of_a_finished_run_is_refused(server: ScriptedServer, client: Client) -> None:
    server.on(CANCEL, problem(400, "run_finished", "It finished."))

    with pytest.raises(RunFinished):
        client.cancel(RUN)


def test_a_cancel_that_came_too_late_is_refused_also_after_a_retry(
    server: ScriptedServer, client: Client
) -> None:
    server.on(CANCEL, HANG_UP, problem(400, "run_finished", "It finished."))
    server.on(STATUS, answer(status("succeeded")))

    with pytest.raises(RunFinished):
        client.cancel(RUN)


def test_a_delete_whose_answer_is_lost_is_still_a_delete(server: ScriptedServer, client: Client) -> None:
    server.on(DELETE, HANG_UP, problem(404, "run_not_found", "There is no run."))

    client.delete(RUN)

    assert len(server.sent(DELETE)) == 2


def test_a_delete_of_no_run_is_not_found(server: ScriptedServer, client: Client) -> None:
    server.on(DELETE, problem(404, "run_not_found", "There is no run."))

    with pytest.raises(NotFound):
        client.delete(RUN)


def test_a_page_of_runs_is_asked_for_by_number(server: ScriptedServer, client: Client) -> None:
    server.on(
        "GET /api/v1/runs", answer({"jobs": [status("queued")], "total": 41, "page": 2, "page_size": 40})
    )

    page = client.list_runs(status="queued", page=2, page_size=40)

    assert (page.total, [run.job_id for run in page.jobs]) == (41, [RUN])
    assert server.requests[0].query == {"status": "queued", "page": "2", "page_size": "40"}


def test_all_runs_are_fetched_page_by_page(server: ScriptedServer, client: Client) -> None:
    def page_after(request: Request) -> Reply:
        number = int(request.query.get("cursor", "0"))
        more = {"next_cursor": str(number + 1)} if number < 2 else {}
        return answer({"jobs": [status("queued", session_id=f"{number}")], "total": 3, **more})

    server.on("GET /api/v1/runs", page_after)

    assert [run.session_id for run in client.iter_runs(session_id="s")] == ["0", "1", "2"]
    assert all(request.query["session_id"] == "s" for request in server.requests)
