"""Submitting: what is accepted, what is refused, and with which words."""

import re
from pathlib import Path

import msgspec
import pytest

from outlast.api.schemas import SubmitBody
from outlast.engine import Engine
from outlast.runs import RunRequest
from outlast.store.protocol import Store
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver

URL = "/api/v1/runs"


async def request_of(store: Store, job_id: str) -> RunRequest:
    stored = await store.request(job_id)
    assert stored is not None
    return msgspec.json.decode(stored, type=RunRequest)


async def test_a_submit_is_answered_with_the_run_and_where_to_find_it(served: Served) -> None:
    answer = await served.http.post(URL, json={"prompt": "Analyze data"})

    assert answer.status_code == 202
    body = answer.json()
    assert list(body) == ["job_id", "status", "created_at", "poll_url", "stream_url"]
    assert re.fullmatch(r"run_[0-9a-z]{26}", body["job_id"])
    assert body["status"] == "queued"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])
    assert body["poll_url"] == f"{served.url}/api/v1/runs/{body['job_id']}"
    assert body["stream_url"] == f"{body['poll_url']}/stream"
    assert answer.headers["location"] == body["poll_url"]
    assert int(answer.headers["retry-after"]) >= 1


async def test_every_field_reaches_the_run(served: Served, store: Store, engine: Engine) -> None:
    sent = {
        "prompt": "Analyze",
        "framework": "echo",
        "timeout": 60,
        "webhook_url": "https://example.com/callback?a=b",
        "session_id": "project-alpha",
        "config": {"verbose": True},
        "metadata": {"ticket": 2**63, "tags": ["a", None, 1.5]},
        "priority": 30,
        "queue": "gpu_2-big",
        "retry": {"max_attempts": 3, "backoff_s": 0.5},
    }

    job_id = (await served.http.post(URL, json=sent)).json()["job_id"]

    run = await store.run(job_id)
    assert run is not None
    assert (run.timeout_s, run.session_id, run.priority_s) == (60, "project-alpha", 30)
    assert run.queue == "gpu_2-big"
    assert (run.retry.max_attempts, run.retry.backoff_s) == (3, 0.5)
    assert run.webhook_url == "https://example.com/callback?a=b"
    request = await request_of(store, job_id)
    assert request.config == {"verbose": True}
    status = (await served.http.get(f"{URL}/{job_id}")).json()
    assert status["metadata"] == {"ticket": 2**63, "tags": ["a", None, 1.5]}


async def test_null_means_absent_in_every_field_but_the_prompt(served: Served) -> None:
    fields = [name for name in SubmitBody.__struct_fields__ if name != "prompt"]

    answer = await served.http.post(URL, json={"prompt": "Hello", **dict.fromkeys(fields)})

    assert answer.status_code == 202


async def test_a_timeout_that_is_not_given_is_the_servers(serve: Serve, store: Store) -> None:
    served = await serve(default_timeout_s=120)

    run = await store.run(await served.submit())

    assert run is not None
    assert run.timeout_s == 120


@pytest.mark.sqlite
@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": 7}, {"prompt": ""}, {"prompt": " \n\t"}])
async def test_a_prompt_that_is_no_prompt_is_400(served: Served, body: dict[str, object]) -> None:
    answer = await served.http.post(URL, json=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "prompt_missing"


@pytest.mark.sqlite
async def test_a_mistyped_prompt_is_named(served: Served) -> None:
    answer = await served.http.post(URL, json={"promt": "Hello"})

    assert answer.status_code == 400
    assert "'promt'" in answer.json()["detail"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (rb"", "The body is empty."),
        (rb" ", "The body is empty."),
        (rb'{"prompt": "Hel', "it ends in the middle"),
        (rb'{"prompt": "Hello"', "it ends in the middle"),
        (rb'{"prompt": "a\ud800"}', "half of a surrogate pair"),
        (rb'{"prompt": "a\udc00"}', "half of a surrogate pair"),
        (rb'{"prompt": "a\ud800 and on"}', "half of a surrogate pair"),
        (rb'{"prompt": "a\\ud800"', "it ends in the middle"),
        (rb"{'prompt': 1}", "object keys must be strings (byte 1)"),
    ],
)
async def test_what_is_no_json_is_said_in_words(served: Served, body: bytes, words: str) -> None:
    answer = await served.http.post(URL, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", True),
        ("timeout", 1.5),
        ("timeout", "60"),
        ("timeout", 86_401),
        ("timeout", 2**63),
        ("timeout", 10**30),
        ("session_id", ""),
        ("session_id", "a\0b"),
        ("session_id", "x" * 256),
        ("session_id", 7),
        ("idempotency_key", ""),
        ("idempotency_key", "a\0b"),
        ("idempotency_key", "x" * 256),
        ("idempotency_key", "schlüssel"),
        ("idempotency_scope", "everywhere"),
        ("idempotency_scope", "session"),
        ("metadata", []),
        ("metadata", "text"),
        ("metadata", {"x": "y" * 16 * 1024}),
        ("config", 7),
        ("priority", 10**9),
        ("queue", ""),
        ("queue", "GPU"),
        ("queue", "a\n"),
        ("queue", "x" * 65),
        ("retry", {"max_attempts": 0}),
        ("retry", {"max_attempts": 11}),
        ("retry", {"backoff_s": -1}),
        ("retry", {"backof_s": 1}),
        ("recipe_config", {"a": 1}),
        ("agent_yaml", ""),
    ],
)
async def test_a_field_out_of_range_is_422_and_named(served: Served, field: str, value: object) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "framework": "echo", field: value})

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_body"
    assert field.partition("_")[0] in problem["detail"]


@pytest.mark.sqlite
async def test_an_unknown_field_is_422_and_names_the_nearest(served: Served) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "time_out": 5})

    assert answer.status_code == 422
    assert "'time_out'" in answer.json()["detail"]
    assert "Did you mean 'timeout'?" in answer.json()["detail"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x",
        "example.com/callback",
        "http://",
        "http:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "http://exa mple.com/",
        "http://example.com:99999/",
        "http://[::1/",
        "http://example.com/\nX: y",
    ],
)
async def test_a_webhook_address_that_is_none_is_refused(served: Served, url: str) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "webhook_url": url})

    assert answer.status_code == 422
    assert answer.json()["code"] == "webhook_refused"


@pytest.mark.parametrize(
    "url", ["http://example.com", "https://example.com:8443/a?b=c", "http://[2001:4860:4860::8888]/"]
)
async def test_a_webhook_address_is_taken_as_it_is(served: Served, store: Store, url: str) -> None:
    run = await store.run(await served.submit(webhook_url=url))

    assert run is not None
    assert run.webhook_url == url


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"prompt"',
        b'{"prompt": "a"} {"prompt": "b"}',
        b'{"prompt": NaN}',
        b'{"prompt": "a", "timeout": NaN}',
        b'{"prompt": "a", "timeout": 1e400}',
        b'{"prompt": "a", "metadata": {"x": 1e400}}',
        b'{"prompt": "a", "metadata": {"x": Infinity}}',
        b'{"prompt": "a", "timeout": 1' + b"0" * 5000 + b"}",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "metadata": {"\\udc00": 1}}',
        b'{"prompt": "a", "session_id": "\\ud83d"}',
        b'{"\\ud800": 1, "prompt": "a"}',
        b'{"prompt": "\xff"}',
        b'{"prompt": "a", "metadata": {"x": "\xed\xa0\x80"}}',
        b'\xef\xbb\xbf{"prompt": "a"}',
        b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt": "a", "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"prompt": "a", "metadata": ' + b'{"a":' * 70 + b"1" + b"}" * 71,
        b"[" * 100_000,
        '{"prompt": "a"}'.encode("utf-16"),
    ],
    ids=lambda raw: raw[:40].decode("latin-1"),
)
async def test_a_body_that_is_not_sound_json_is_422(served: Served, raw: bytes) -> None:
    answer = await served.http.post(URL, content=raw, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_body"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", 'APPLICATION/JSON;charset="UTF-8"']
)
async def test_json_is_json_whatever_its_parameters(served: Served, kind: str) -> None:
    answer = await served.http.post(URL, content=b'{"prompt":"Hello"}', headers={"content-type": kind})

    assert answer.status_code == 202


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_what_is_not_declared_as_plain_json_is_415(served: Served, headers: dict[str, str]) -> None:
    answer = await served.http.post(URL, content=b'{"prompt":"Hello"}', headers=headers)

    assert answer.status_code == 415


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("framework", "code", "words"),
    [
        ("crewai", "framework_not_installed", "outlast runner add crewai"),
        ("openai_agents", "framework_not_installed", "outlast runner add openai-agents"),
        ("crewia", "unknown_framework", "Did you mean 'crewai'?"),
        ("function", "unknown_agent", "outlast.toml"),
    ],
)
async def test_a_framework_that_cannot_run_is_refused_with_the_way_out(
    served: Served, framework: str, code: str, words: str
) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "framework": framework})

    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert words in answer.json()["detail"]


@pytest.mark.sqlite
async def test_a_recipe_names_the_command_that_installs_its_runner(served: Served) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "recipe_name": "news", "recipe_config": {}})

    assert answer.status_code == 422
    assert "outlast runner add praisonai" in answer.json()["detail"]


async def test_the_text_of_an_agent_file_is_kept_with_the_run(
    served: Served, store: Store, agent_root: Path
) -> None:
    text = "roles:\n  writer:\n    role: Writer\n    goal: Write\n    backstory: x\n"
    (agent_root / "team.yaml").write_text(text)

    answer = await served.http.post(URL, json={"prompt": "Hello", "agent_file": "team.yaml"})
    (agent_root / "team.yaml").write_text("changed")

    assert answer.status_code == 202, answer.text
    assert (await request_of(store, answer.json()["job_id"])).agent_yaml == text


@pytest.mark.sqlite
async def test_a_missing_agent_file_is_refused(served: Served) -> None:
    answer = await served.http.post(URL, json={"prompt": "Hello", "agent_file": "agents.yaml"})

    assert answer.status_code == 422
    assert answer.json()["code"] == "agent_file_refused"


@pytest.mark.sqlite
async def test_without_a_model_only_runners_that_need_none_are_accepted(serve: Serve) -> None:
    served = await serve(has_model=False)

    refused = await served.http.post(URL, json={"prompt": "Hello"})

    assert refused.status_code == 422
    assert refused.json()["code"] == "no_model_configured"
    assert "OPENAI_API_KEY=" in refused.json()["detail"]
    assert await served.submit(framework="echo")


async def test_a_draining_server_takes_no_new_runs(served: Served) -> None:
    served.drain()

    answer = await served.http.post(URL, json={"prompt": "Hello"})

    assert answer.status_code == 503
    assert answer.json()["code"] == "draining"
    assert answer.headers["retry-after"] == "1"


async def test_the_prompt_arrives_as_it_was_sent(served: Served, driver: Driver, store: Store) -> None:
    prompt = 'Zeilen\nund "Anführung" \\ \u2028 \x85 \x00 🦜'

    job_id = await served.submit(prompt)

    assert (await request_of(store, job_id)).prompt == prompt
