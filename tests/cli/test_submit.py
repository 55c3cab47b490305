"""`outlast submit`: every word of it reaches the server, and stdout has what a script wants of it."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Outlast
from tests.client.scripted import ScriptedServer, answer, events, problem
from tests.client.test_requests import ACCEPTED, RUN, STATUS, SUBMIT, status
from tests.client.test_stream import DONE, END, HALF, QUEUED, STREAM, TOKEN

SUCCEEDED = answer(status("succeeded", completed_at="2026-11-22T01:02:09Z"))
RESULT = answer(status("succeeded", result="4", duration_seconds=1.2))
FAILED = answer(status("failed", error="The agent's process died.", error_code="worker_lost"))


@pytest.fixture(autouse=True)
def accepting(server: ScriptedServer) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))


def test_stdout_is_the_id_and_nothing_else(outlast: Outlast) -> None:
    done = outlast("submit", "What is 2+2?")

    assert (done.code, done.out) == (0, f"{RUN}\n")
    assert f"outlast stream {RUN}" in done.err


def test_every_option_reaches_the_server(server: ScriptedServer, outlast: Outlast, tmp_path: Path) -> None:
    yaml = tmp_path / "agents.yaml"
    yaml.write_text("roles: {}\n")

    done = outlast(
        "submit", "Do it", "--agent", "a", "--agent-yaml", str(yaml), "--framework", "crewai", "--timeout", "7200",
        "--session-id", "s", "--webhook-url", "https://example.com/callback", "--config", '{"a": [1]}',
        "--metadata", "user=john", "--metadata", "note=a=b", "--metadata", '{"n": 1}',
        "--idempotency-key", "order-1", "--idempotency-scope", "session",
    )  # fmt: skip

    assert done.code == 0
    assert server.requests[0].json == {
        "prompt": "Do it",
        "agent": "a",
        "agent_yaml": "roles: {}\n",
        "framework": "crewai",
        "timeout": 7200,
        "session_id": "s",
        "webhook_url": "https://example.com/callback",
        "config": {"a": [1]},
        "metadata": {"user": "john", "note": "a=b", "n": 1},
        "idempotency_key": "order-1",
        "idempotency_scope": "session",
    }
    assert server.requests[0].headers["idempotency-key"] == "order-1"


def test_a_recipe_reaches_the_server(server: ScriptedServer, outlast: Outlast) -> None:
    outlast("submit", "Analyze", "--recipe", "news", "--recipe-config", '{"format": "json"}')

    assert server.requests[0].json == {
        "prompt": "Analyze", "recipe_name": "news", "recipe_config": {"format": "json"}
    }  # fmt: skip


def test_an_agent_file_is_named_not_sent(server: ScriptedServer, outlast: Outlast) -> None:
    outlast("submit", "x", "--agent-file", "team/agents.yaml")

    assert server.requests[0].json == {"prompt": "x", "agent_file": "team/agents.yaml"}


def test_the_prompt_may_come_from_stdin(
    server: ScriptedServer, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Grüße\nvon stdin".encode())))

    outlast("submit", "-")

    assert server.requests[0].json["prompt"] == "Grüße\nvon stdin"


def test_the_old_lines_work_under_run(server: ScriptedServer, outlast: Outlast) -> None:
    done = outlast("run", "submit", "Task", "--idempotency-key", "k", "--json", "--api-url", server.url)

    assert json.loads(done.out) == ACCEPTED
    assert done.err == ""


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["a", "--prompt", "b"],
        ["a", "b"],
        ["a", "--recipe", "r", "--agent-file", "f"],
        ["a", "--metadata", "novalue"],
        ["a", "--metadata", "{"],
        ["a", "--metadata", "[1]"],
        ["a", "--recipe-config", "no json"],
        ["a", "--timeout", "0"],
        ["a", "--timeout", "soon"],
        ["a", "--idempotency-scope", "planet"],
        ["a", "--agent-yaml", "/nowhere/agents.yaml"],
        ["a", "--unheard-of"],
    ],
)
def test_a_wrong_command_line_is_exit_2_and_nothing_is_sent(
    server: ScriptedServer, outlast: Outlast, args: list[str]
) -> None:
    done = outlast("submit", *args)

    assert (done.code, done.out) == (2, "")
    assert "Error: " in done.err
    assert server.requests == []


def test_wait_prints_the_result_alone(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, answer(status("queued")), SUCCEEDED)
    server.on(f"{STATUS}/result", RESULT)

    done = outlast("submit", "x", "--wait")

    assert (done.code, done.out) == (0, "4\n")


def test_wait_json_is_one_document(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, SUCCEEDED)
    server.on(f"{STATUS}/result", RESULT)

    done = outlast("submit", "x", "--wait", "--json")

    assert json.loads(done.out)["result"] == "4"


def test_a_failed_run_is_exit_1_and_says_why(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, FAILED)

    done = outlast("submit", "x", "--wait")

    assert (done.code, done.out) == (1, "")
    assert f"Run {RUN} failed: The agent's process died. (worker_lost)" in done.err


def test_a_failed_run_is_json_too(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, FAILED)

    done = outlast("submit", "x", "--wait", "--json")

    assert done.code == 1
    assert json.loads(done.out)["error_code"] == "worker_lost"


def test_a_wait_that_takes_too_long_is_exit_124(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STATUS, answer(status("running")))

    done = outlast("submit", "x", "--wait-timeout", "0.1")

    assert (done.code, done.out) == (124, "")
    assert "it goes on" in done.err


def test_stream_prints_events_then_the_result(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STREAM, events(QUEUED, HALF, END, DONE))
    server.on(STATUS, SUCCEEDED)
    server.on(f"{STATUS}/result", RESULT)

    done = outlast("submit", "x", "--stream")

    assert (done.code, done.out) == (0, "queued\n[50%]\n4\n")


def test_streamed_text_is_not_printed_twice(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STREAM, events(QUEUED, TOKEN, END, DONE))
    server.on(STATUS, SUCCEEDED)
    server.on(f"{STATUS}/result", RESULT)

    done = outlast("submit", "x", "--stream", "--tokens")

    assert done.out == "queued\n4\n"


def test_stream_json_is_json_lines(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(STREAM, events(QUEUED, END, DONE))
    server.on(STATUS, SUCCEEDED)

    done = outlast("submit", "x", "--stream", "--json")

    accepted, queued, last = (json.loads(line) for line in done.out.splitlines())
    assert accepted == ACCEPTED
    assert queued == {"event": "status", "data": {"status": "queued"}, "id": 1}
    assert last["event"] == "complete"


def test_a_conflict_is_exit_3_and_names_the_code(server: ScriptedServer, outlast: Outlast) -> None:
    server.on("POST /under/api/v1/runs", problem(409, "idempotency_conflict", "The key belongs to run_01j."))

    done = outlast("submit", "x", "--idempotency-key", "k", "--api-url", f"{server.url}/under")

    assert (done.code, done.out) == (3, "")
    assert "The key belongs to run_01j. (idempotency_conflict)" in done.err


def test_a_known_key_says_so(server: ScriptedServer, outlast: Outlast) -> None:
    server.on("POST /under/api/v1/runs", answer(ACCEPTED, 202, Idempotency_Replayed="true"))

    done = outlast("submit", "x", "--idempotency-key", "k", "--api-url", f"{server.url}/under")

    assert done.out == f"{RUN}\n"
    assert "already has this idempotency key" in done.err
