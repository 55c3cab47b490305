"""What an attempt was answered, a later one of the same run has for nothing."""

import asyncio
import random

import httpx
import pytest

from outlast.engine import Engine
from outlast.gateway import Gateway
from outlast.runs import Usage
from outlast.store.sqlite import SqliteStore
from tests import runs_factory
from tests.gateway.conftest import ASK, COUNTED, STREAM, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Raw, Say

CHAT, RESPONSES = "/chat/completions", "/responses"
RESPONSE: Json = {"model": "gpt-test", "input": [{"role": "user", "content": "What is 2+2?"}]}
CUT_SHORT = Raw(
    (b'data: {"choices":[{"index":0,"delta":{"content":"Fo"}}]}\n\n',),
    200,
    {"content-type": "text/event-stream"},
)


async def ask(agent: Agent, body: Json, path: str = CHAT, **headers: str) -> httpx.Response:
    """One call over a connection of its own."""
    async with agent.raw() as client:
        return await client.post(path, json=body, headers=headers)


async def test_a_call_that_was_answered_is_not_paid_again(agent: Agent, provider: Provider) -> None:
    provider.script(Say("Four."))
    first = await ask(agent, ASK)
    usage = (await agent.head()).usage

    second = await agent.lost()
    again = await ask(second, ASK)

    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-outlast-replayed"] == "exact"
    assert len(provider.asked) == 1
    assert (await second.head()).usage == usage
    assert [call["how"] for call in await second.calls()] == ["live", "exact"]
    assert "input_tokens" not in (await second.calls())[1]


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, STREAM), (CHAT, COUNTED), (RESPONSES, {**RESPONSE, "stream": True})]
)
async def test_a_stream_comes_again_byte_for_byte(
    agent: Agent, provider: Provider, path: str, body: Json
) -> None:
    provider.script(Say("It is four."))
    first = await ask(agent, body, path)

    again = await ask(await agent.lost(), body, path)

    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(provider.asked) == 1


async def test_the_same_question_asked_twice_is_two_calls_in_every_attempt(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("one"), Say("two"), Say("three"))
    first = [(await ask(agent, ASK)).content for _ in range(2)]

    second = await agent.lost()
    again = [(await ask(second, ASK)).content for _ in range(3)]

    assert again[:2] == first
    assert b"three" in again[2]
    assert len(provider.asked) == 3


async def test_calls_that_race_are_found_in_any_order(agent: Agent, provider: Provider) -> None:
    provider.answer = lambda asked: Say(f"answer to {asked.json['messages']}")
    bodies: list[Json] = [{**ASK, "messages": [{"role": "user", "content": str(n % 3)}]} for n in range(9)]
    await asyncio.gather(*(ask(agent, body) for body in bodies))

    second = await agent.lost()
    again = await asyncio.gather(*(ask(second, body) for body in reversed(bodies)))

    assert len(provider.asked) == 9
    assert [
        str(2 - n % 3) in answer.json()["choices"][0]["message"]["content"] for n, answer in enumerate(again)
    ] == [True] * 9
    assert [answer.headers["x-outlast-replayed"] for answer in again] == ["exact"] * 9


async def test_what_does_not_say_what_is_asked_does_not_matter(agent: Agent, provider: Provider) -> None:
    await ask(agent, {**ASK, "user": "a", "metadata": {"trace": "1"}, "prompt_cache_key": "x"})

    second = await agent.lost()
    again = await ask(second, {"messages": ASK["messages"], "user": "b", "model": "gpt-test"})

    assert again.headers["x-outlast-replayed"] == "exact"


async def test_default_is_the_same_as_the_model_it_stands_for(agent: Agent, provider: Provider) -> None:
    await ask(agent, {**ASK, "model": "default"})

    again = await ask(await agent.lost(), {**ASK, "model": "gpt-granted"})

    assert again.headers["x-outlast-replayed"] == "exact"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_that_cannot_change_is_kept(agent: Agent, provider: Provider, status: int) -> None:
    provider.script(Fail(status, "no such thing"))
    first = await ask(agent, ASK)

    second = await agent.lost()
    again = await ask(second, ASK)

    assert (again.status_code, again.content) == (status, first.content)
    assert len(provider.asked) == 1
    assert (await second.head()).usage == Usage()
    reason = second.gateway.reason(second.attempt_id)
    assert reason is not None
    assert "no such thing" in reason


@pytest.mark.parametrize(
    "reply",
    [
        Fail(401),
        Fail(403),
        Fail(404),
        Fail(429, headers={"x-should-retry": "false"}),
        Fail(500, headers={"x-should-retry": "false"}),
        Raw((b'{"error": {"message": "overloaded"}}',), 200, {"content-type": "application/json"}),
        Raw((b"<html>",), 200, {"content-type": "text/html"}),
    ],
)
async def test_what_may_be_answered_otherwise_is_asked_again(
    agent: Agent, provider: Provider, reply: Fail | Raw
) -> None:
    provider.script(reply, Say("Four."))
    await ask(agent, ASK)

    again = await ask(await agent.lost(), ASK)

    assert again.status_code == 200
    assert "x-outlast-replayed" not in again.headers
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Say("one two three", break_after=2),
        CUT_SHORT,
        Raw(
            (b'data: {"error": {"message": "overloaded"}}\n\n', b"data: [DONE]\n\n"),
            200,
            {"content-type": "text/event-stream"},
        ),
    ],
)
async def test_a_stream_that_is_not_whole_is_asked_again(
    agent: Agent, provider: Provider, reply: Say | Raw
) -> None:
    provider.script(reply, Say("Four."))
    try:
        await ask(agent, STREAM)
    except httpx.RemoteProtocolError:
        pass  # it was broken off for the agent too

    again = await ask(await agent.lost(), STREAM)

    assert "x-outlast-replayed" not in again.headers
    assert len(provider.asked) == 2


async def test_a_failed_call_is_no_call_to_count(agent: Agent, provider: Provider) -> None:
    provider.script(Fail(500, headers={"x-should-retry": "false"}), Say("Four."))
    await ask(agent, ASK)
    await ask(agent, ASK)

    again = await ask(await agent.lost(), ASK)

    assert again.headers["x-outlast-replayed"] == "exact"
    assert len(provider.asked) == 2


async def test_an_answer_is_on_disk_before_the_agent_has_the_end_of_it(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("one two"))

    async with agent.raw() as client, client.stream("POST", CHAT, json=STREAM) as answer:
        pieces, seen = answer.aiter_raw(), b""
        while b"[DONE]" not in seen:
            seen += await anext(pieces)
        journal = await agent.engine.journals.read(agent.run_id, 1)

    assert [call.key.n for call in journal.calls] == [1]


async def test_an_unreadable_question_is_asked_every_time(agent: Agent, provider: Provider) -> None:
    provider.answer = lambda asked: Raw((b"{}",), 200, {"content-type": "application/json"})
    bodies = [
        b'{"model": "m", "top_p": NaN}',
        b"[" * 100_000,
        b'"text"',
        b'{"model": "\\ud800"}',
        b'{"seed": 1e999}',
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "\xff"}',
    ]

    for _ in range(2):
        async with agent.raw() as client:
            assert [(await client.post(CHAT, content=body)).status_code for body in bodies] == [200] * 7
        agent = await agent.lost()

    assert [asked.body for asked in provider.asked] == bodies * 2


async def test_the_journal_is_of_one_run(
    engine: Engine, gateway: Gateway, agent: Agent, provider: Provider
) -> None:
    await ask(agent, ASK)
    run, attempt_id = await runs_factory.running(engine)

    other = await ask(Agent(engine, gateway, run, attempt_id), ASK)

    assert "x-outlast-replayed" not in other.headers
    assert len(provider.asked) == 2


@pytest.mark.sqlite
@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_an_answer_waits_until_it_can_be_kept(
    agent: Agent, provider: Provider, store: SqliteStore, body: Json
) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    provider.script(Say(random.randbytes(50_000).hex()), Say("Another."))
    waiting = asyncio.create_task(ask(agent, body))
    await provider.until(lambda: len(provider.asked) == 1, "the call")
    await asyncio.wait((waiting,), timeout=0.5)
    assert not waiting.done()

    store._connection.execute("PRAGMA max_page_count = 100000")

    assert (await asyncio.wait_for(waiting, 10)).status_code == 200
    again = await agent.lost()
    assert (await ask(again, body)).status_code == 200
    assert len(provider.asked) == (await again.head()).usage.model_calls == 1
