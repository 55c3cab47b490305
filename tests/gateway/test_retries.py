"""The gateway does the retrying: patient with what may pass, at once with what will not, never twice the same byte."""

import asyncio
import socket

import httpx
import openai
import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway, Patience
from tests import runs_factory
from tests.gateway.conftest import ASK, HASTE, STREAM, Agent
from tests.provider import Fail, Provider, Raw, Say


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_tried_again(agent: Agent, provider: Provider, status: int) -> None:
    provider.script(Fail(status), Fail(status), Say("Four."))

    async with agent.openai() as client:
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])

    assert answer.choices[0].message.content == "Four."
    assert len({asked.body for asked in provider.asked}) == 1
    (call,) = await agent.calls()
    assert call["tries"] == 3
    assert agent.gateway.reason(agent.attempt_id) is None


async def test_what_does_not_pass_is_given_up_and_not_tried_by_the_agent(
    agent: Agent, provider: Provider
) -> None:
    provider.answer = lambda asked: Fail(503, "Overloaded.", headers={"x-request-id": "req_9"})

    async with agent.openai(max_retries=5) as client:
        with pytest.raises(openai.InternalServerError, match="Overloaded") as given_up:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])

    assert given_up.value.response.headers["x-should-retry"] == "false"
    assert given_up.value.request_id == "req_9"
    assert len(provider.asked) == HASTE.tries
    assert agent.gateway.reason(agent.attempt_id) == "The model provider answered 503: Overloaded."


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_what_will_not_pass_is_passed_on_at_once(agent: Agent, provider: Provider, status: int) -> None:
    provider.script(Fail(status, "No."))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == status
    assert answer.json()["error"]["message"] == "No."
    assert len(provider.asked) == 1
    assert agent.gateway.reason(agent.attempt_id) == f"The model provider answered {status}: No."


@pytest.mark.parametrize(
    "fail",
    [
        Fail(500, headers={"x-should-retry": "false"}),
        Fail(429, headers={"retry-after": "3600"}),
        Raw((b'{"error": {"code": "insufficient_quota", "message": "Pay."}}',), 429),
    ],
    ids=["told not to", "for too long", "never by waiting"],
)
async def test_a_hopeless_failure_is_given_up_at_once(
    agent: Agent, provider: Provider, fail: Fail | Raw
) -> None:
    provider.script(fail)

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == fail.status
    assert answer.headers.get_list("x-should-retry") == ["false"]
    assert len(provider.asked) == 1


async def test_a_connection_dropped_before_the_first_byte_is_tried_again(
    agent: Agent, provider: Provider
) -> None:
    provider.script(
        Raw((b'{"half":',), 200, {"content-length": "99"}, break_after=1),
        Raw((b"",), 200, {"content-type": "text/event-stream"}, break_after=1),
    )

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    assert len(provider.asked) == 3


async def test_a_stream_that_breaks_after_its_first_event_breaks_for_the_agent(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("one two three", break_after=2))

    async with agent.raw() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/chat/completions", json=STREAM)

    assert len(provider.asked) == 1
    (call,) = await agent.calls()
    assert "closed the connection before its answer was complete" in str(call["error"])
    assert (await agent.head()).usage.model_calls == 0
    assert agent.gateway.reason(agent.attempt_id) == call["error"]


async def test_a_provider_that_is_not_there_is_named(engine: Engine, clock: FakeClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = taken.getsockname()[1]
    settings = Settings(openai_base_url=f"http://user:secret@127.0.0.1:{nowhere}/v1", openai_api_key="sk-1")
    gateway = Gateway(engine, settings, clock, patience=HASTE)
    await gateway.start()
    agent = Agent(engine, gateway, *await runs_factory.running(engine))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)
    await gateway.stop()

    assert answer.status_code == 502
    assert (
        answer.json()["error"]["message"] == f"127.0.0.1:{nowhere} could not be reached: Connection refused."
    )
    assert answer.headers["x-should-retry"] == "false"
    (call,) = await agent.calls()
    assert call["tries"] == HASTE.tries
    assert "secret" not in answer.text


async def test_a_redirecting_provider_is_not_followed_with_the_key(agent: Agent, provider: Provider) -> None:
    provider.script(Raw((), 308, {"location": "https://elsewhere.example/v1"}))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == 502
    assert "redirects to https://elsewhere.example/v1" in answer.json()["error"]["message"]
    assert len(provider.asked) == 1


async def test_a_retry_of_the_agent_is_noted_as_the_same_call(agent: Agent) -> None:
    async with agent.raw() as client:
        await client.post("/chat/completions", json=ASK, headers={"x-stainless-retry-count": "2"})

    (call,) = await agent.calls()
    assert call["agent_retry"] == 2


def test_pauses_grow_with_jitter_and_end_with_the_budget() -> None:
    patience = Patience()

    pauses = [patience.pause(503, (), tries, 0) or 0 for tries in (1, 2, 3)]

    assert [full * 0.75 <= pause <= full for full, pause in zip((0.5, 1, 2), pauses, strict=True)] == [
        True
    ] * 3
    assert patience.pause(503, (), 4, 0) is None
    assert patience.pause(503, (), 3, 59.9) is None


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ((), None),
        (((b"retry-after", b"7"),), 7),
        (((b"retry-after-ms", b"1500"), (b"retry-after", b"9")), 1.5),
        (((b"retry-after", b"61"),), None),
    ],
)
def test_the_providers_pause_is_honoured_within_bounds(
    headers: tuple[tuple[bytes, bytes], ...], pause: float | None
) -> None:
    assert Patience(longest_s=0).pause(429, headers, 1, 0) in (pause, 0 if not headers else pause)


async def test_other_calls_go_on_while_one_waits(agent: Agent, provider: Provider) -> None:
    provider.script(Fail(503, headers={"retry-after": "30"}))

    async with agent.raw() as client:
        waiting = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: bool(provider.asked) and provider.asked[0].answered, "the first call")
        other = await client.post("/chat/completions", json=ASK)
        waiting.cancel()

    assert other.status_code == 200
