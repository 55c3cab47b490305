"""The run's own address, as an agent in any language speaks to it."""

import httpx
import pytest

from outlast.engine import Engine
from outlast.gateway import run_address
from outlast.runs import Caller, RunState
from outlast.steps import Answer, Effect
from outlast.transitions import Cause
from tests import runs_factory
from tests.gateway.conftest import Agent
from tests.openai_wire import Json

ME = Caller()
PAY: Json = {"name": "pay", "effect": "once", "input": {"euros": 5}}


def client(agent: Agent, token: str | None = None) -> httpx.AsyncClient:
    """Something that speaks to the run's address."""
    url = agent.grant.base_url.removesuffix("/v1") + "/run"
    headers = {"authorization": f"Bearer {agent.grant.token if token is None else token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False)


async def successor(agent: Agent) -> Agent:
    """The attempt after this one, whose worker died."""
    engine = agent.engine
    agent.gateway.revoke(agent.attempt_id)
    await engine.lose(agent.run_id, agent.attempt_id, Cause.WORKER)
    (claimed,) = await runs_factory.claim(engine)
    assert claimed.run.attempt_id is not None
    return Agent(engine, agent.gateway, claimed.run, claimed.run.attempt_id)


async def test_a_step_is_begun_ended_and_given_back(agent: Agent) -> None:
    async with client(agent) as http:
        begun = await http.post("/steps/search", json={"effect": "read", "input": {"q": "x"}})
        ended = await http.put("/steps/search", json={"result": {"found": [1, 2]}})
        again = await http.post("/steps/search", json={"effect": "read"})

    step = {"step": "search"}
    key = begun.json()["idempotency_key"]
    assert key.startswith("step_")
    assert (begun.status_code, begun.json()) == (201, {"state": "run", **step, "idempotency_key": key})
    assert (ended.status_code, ended.json()) == (200, {"state": "done", **step})
    assert (again.status_code, again.json()) == (200, {"state": "done", **step, "result": {"found": [1, 2]}})


async def test_a_key_is_made_of_name_input_and_count(agent: Agent) -> None:
    orders: list[Json] = [
        {"name": "a"},
        {"name": "a"},
        {"name": "a", "input": {"x": 1, "y": 2}},
        {"name": "a", "input": {"y": 2, "x": 1}},
        {"name": "a", "input": {"x": 2}},
    ]

    async def keys(agent: Agent) -> list[str]:
        async with client(agent) as http:
            return [(await http.post("/steps", json=order)).json()["step"] for order in orders]

    first = await keys(agent)

    assert first[:2] == ["a:1", "a:2"]
    assert [key.split(":")[2] for key in first[2:]] == ["1", "2", "1"]
    assert len({key.split(":")[1] for key in first[2:]}) == 2
    assert await keys(await successor(agent)) == first


async def test_over_a_once_step_that_was_in_flight_the_run_waits_until_it_is_answered(agent: Agent) -> None:
    async with client(agent) as http:
        key = (await http.post("/steps", json=PAY)).json()["step"]
    second = await successor(agent)

    async with client(second) as http:
        answer = await http.post("/steps", json=PAY)

    assert answer.status_code == 409
    assert answer.json() == {
        "type": "urn:outlast:problem:step_unsure",
        "title": f"The run waits for a person to say whether step {key} was done",
        "status": 409,
        "detail": f"The run waits for a person to say whether step {key} was done; this attempt is over.",
        "code": "step_unsure",
        "state": "waiting",
        "step": key,
    }
    assert (await second.head()).state is RunState.WAITING
    await agent.engine.steps.answer(ME, agent.run_id, key, Answer.FAIL, error="No money.")
    (claimed,) = await runs_factory.claim(agent.engine)
    third = Agent(agent.engine, agent.gateway, claimed.run, claimed.run.attempt_id or "")
    async with client(third) as http:
        answer = await http.post("/steps", json=PAY)
    assert answer.json() == {"state": "failed", "step": key, "error": "No money."}


async def test_a_once_step_is_not_begun_twice_at_the_same_time(agent: Agent) -> None:
    async with client(agent) as http:
        first = await http.post("/steps/pay", json=PAY)
        second = await http.post("/steps/pay", json=PAY)
        await http.put("/steps/pay", json={"error": "refused"})
        third = await http.post("/steps/pay", json=PAY)

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "step_running"
    assert third.json() == {"state": "failed", "step": "pay", "error": "refused"}


async def test_keys_may_have_slashes_and_be_in_any_script(agent: Agent) -> None:
    async with client(agent) as http:
        begun = await http.post("/steps/%C3%BC%2F1%231", json={})

    assert begun.json()["step"] == "ü/1#1"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/steps/a", b"{", 422, "invalid_body"),
        ("POST", "/steps/a", b'{"effect":"twice"}', 422, "invalid_body"),
        ("POST", "/steps/a", b'{"key":"a"}', 422, "invalid_body"),
        ("POST", "/steps/a", b"\xff", 422, "invalid_body"),
        ("POST", "/steps", b"{}", 422, "invalid_body"),
        (
            "POST",
            "/steps",
            b'{"name":"a","input":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
            422,
            "invalid_body",
        ),
        ("POST", "/steps/" + "x" * 256, b"{}", 422, "invalid_body"),
        ("POST", "/steps/a%00b", b"{}", 422, "invalid_body"),
        ("PUT", "/steps/a", b"{}", 422, "invalid_body"),
        ("PUT", "/steps/a", b'{"result":1,"error":"no"}', 422, "invalid_body"),
        ("PUT", "/steps/a", b'{"result":1}', 409, "step_not_begun"),
        ("PUT", "/steps", b'{"result":1}', 404, "unknown_url"),
        ("POST", "/wishes", b"{}", 404, "unknown_url"),
    ],
)
async def test_what_cannot_be_served_is_refused_in_words(
    agent: Agent, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    async with client(agent) as http:
        answer = await http.request(method, path, content=content)

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)
    assert answer.json()["detail"]


async def test_a_result_that_is_too_large_is_refused_unread(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_address, "MAX_BODY", 1000)
    async with client(agent) as http:
        await http.post("/steps/a", json={})
        answer = await http.put("/steps/a", json={"result": "x" * 1000})

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_only_a_living_attempt_with_its_token_is_heard(agent: Agent, engine: Engine) -> None:
    async with client(agent, token="sk-made-up") as http:
        unknown = await http.post("/steps/a", json={})
    await engine.cancel(ME, agent.run_id)
    async with client(agent) as http:
        fenced = await http.post("/steps/a", json={})
    agent.gateway.revoke(agent.attempt_id)
    async with client(agent) as http:
        over = await http.post("/steps/a", json={})

    answers = [(it.status_code, it.json()["code"]) for it in (unknown, fenced, over)]
    assert answers == [(401, "no_run_token"), (403, "attempt_over"), (403, "attempt_over")]


async def test_another_name_under_a_key_is_refused(agent: Agent) -> None:
    async with client(agent) as http:
        await http.post("/steps/a", json={"name": "search"})
        answer = await http.post("/steps/a", json={"name": "pay", "effect": Effect.ONCE})

    assert (answer.status_code, answer.json()["code"]) == (409, "step_mismatch")
