"""One attempt's calls: which are the same call, who waits for whom, and what becomes of an answer nobody waits for."""

import asyncio
import sqlite3
from contextlib import closing

import httpx
import pytest

from outlast.runs import Caller
from outlast.store.sqlite import SqliteStore
from tests.gateway.conftest import ASK, STREAM, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Say

CHAT = "/chat/completions"
AGAIN = {"x-stainless-retry-count": "1"}


async def test_a_repeated_call_joins_the_one_in_flight(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=2))
    async with agent.raw() as client:
        first = asyncio.create_task(client.post(CHAT, json=STREAM))
        await provider.until(lambda: bool(provider.asked) and provider.asked[0].pieces >= 2, "the call")
        second = asyncio.create_task(client.post(CHAT, json=STREAM, headers=AGAIN))
        await asyncio.sleep(0.05)
        provider.release()
        answers = await asyncio.gather(first, second)

    assert answers[0].content == answers[1].content
    assert len(provider.asked) == 1
    assert len(await agent.calls()) == 1


async def test_whoever_joins_gets_the_answer_in_the_form_it_wants(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=2))
    async with agent.raw() as client:
        first = asyncio.create_task(client.post(CHAT, json=STREAM))
        await provider.until(lambda: len(provider.asked) == 1, "the call")
        second = asyncio.create_task(client.post(CHAT, json=ASK, headers=AGAIN))
        await asyncio.sleep(0.05)
        provider.release()
        _, whole = await asyncio.gather(first, second)

    assert whole.json()["choices"][0]["message"]["content"] == "one two three"
    assert len(provider.asked) == 1


async def test_a_repeated_call_that_was_answered_gets_its_answer(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one"), Say("two"))
    async with agent.raw() as client:
        first = await client.post(CHAT, json=ASK)
        again = await client.post(CHAT, json=ASK, headers=AGAIN)
        other = await client.post(CHAT, json=ASK)

    assert again.content == first.content
    assert b"two" in other.content
    assert len(provider.asked) == 2


async def test_a_repeated_call_that_failed_is_asked_again_as_the_same(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Fail(500, headers={"x-should-retry": "false"}), Say("one"))
    async with agent.raw() as client:
        await client.post(CHAT, json=ASK)
        await client.post(CHAT, json=ASK, headers=AGAIN)

    journal = await agent.engine.journals.read(agent.run_id, 1)
    assert [call.key.n for call in journal.calls] == [1]


async def test_calls_at_one_time_are_different_calls(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        await asyncio.gather(*(client.post(CHAT, json=ASK) for _ in range(3)))

    journal = await agent.engine.journals.read(agent.run_id, 1)
    assert sorted(call.key.n for call in journal.calls) == [1, 2, 3]
    assert len(provider.asked) == 3


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_an_answer_whose_agent_left_is_there_when_it_asks_again(
    agent: Agent, provider: Provider, body: Json
) -> None:
    provider.script(Say("Four.", hold_after=0), Say("Five."))
    async with agent.raw() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=body, timeout=0.2)
        await provider.until(lambda: len(provider.asked) == 1, "the call")
        provider.release()
        again = await client.post(CHAT, json=body)

    assert b"Four." in again.content
    assert len(provider.asked) == 1


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_an_answer_whose_agent_died_is_kept_for_the_next_attempt(
    agent: Agent, provider: Provider, body: Json
) -> None:
    provider.script(Say("one two three", hold_after=1))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post(CHAT, json=body))
        await provider.until(lambda: bool(provider.asked) and provider.asked[0].pieces == 1, "the call")
        call.cancel()
    going_on = asyncio.create_task(agent.lost())
    await asyncio.sleep(0.05)
    assert not going_on.done()
    provider.release()

    second = await going_on
    async with second.raw() as client:
        again = await client.post(CHAT, json=body)

    assert b"three" in again.content
    assert provider.asked[0].disconnected_at is None
    assert len(provider.asked) == 1


async def test_a_cancel_cuts_what_is_read_for_nobody(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=1))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post(CHAT, json=STREAM))
        await provider.until(lambda: bool(provider.asked) and provider.asked[0].pieces == 1, "the call")
        call.cancel()
    settling = asyncio.create_task(agent.gateway.settle(agent.attempt_id))
    await asyncio.sleep(0.05)

    await agent.engine.cancel(Caller(), agent.run_id)
    agent.gateway.revoke(agent.attempt_id)  # as its worker does when it hears of it
    await asyncio.wait_for(settling, 10)

    await provider.until(lambda: provider.asked[0].disconnected_at is not None, "the cut")
    assert await agent.calls() == []


async def test_an_agent_that_does_not_read_holds_up_nobody(agent: Agent, provider: Provider) -> None:
    provider.script(Say("x" * 2_000_000))
    async with agent.raw() as client, client.stream("POST", CHAT, json=STREAM):
        await asyncio.wait_for(agent.gateway.settle(agent.attempt_id), 30)

        journal = await agent.engine.journals.read(agent.run_id, 1)

    assert len(journal.calls) == 1


def _execute(store: SqliteStore, statement: str) -> None:
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute(statement)
