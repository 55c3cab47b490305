"""Where an attempt left the way of the one before it; and prompts that tell the time, if that is allowed."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway
from tests import runs_factory
from tests.gateway.conftest import HASTE, Agent
from tests.openai_wire import Json
from tests.provider import Provider

HELLO: Json = {"role": "user", "content": "Hello."}


async def ask(agent: Agent, *messages: Json, **more: object) -> httpx.Response:
    async with agent.raw() as client:
        return await client.post("/chat/completions", json={"model": "m", "messages": messages, **more})


def system(text: str) -> Json:
    return {"role": "system", "content": text}


async def test_the_first_live_call_says_where_it_left_the_way(agent: Agent, provider: Provider) -> None:
    await ask(agent, system("It is 09:12."), HELLO)
    await ask(agent, HELLO, HELLO)

    second = await agent.lost()
    await ask(second, system("It is 09:14."), HELLO)
    await ask(second, system("It is 09:14."), HELLO, HELLO)

    first, _, left, further = await second.calls()
    assert "diverged" not in first
    assert left["diverged"] == {
        "call": (await second.engine.journals.read(second.run_id, 1)).calls[0].seq,
        "field": "messages[0].content",
        "was": "It is 09:12.",
        "is": "It is 09:14.",
    }
    assert "diverged" not in further


async def test_it_is_compared_with_the_call_that_it_has_most_in_common_with(agent: Agent) -> None:
    await ask(agent, system("A"), HELLO)
    await ask(agent, system("B"), HELLO, {"role": "user", "content": "one"})

    second = await agent.lost()
    await ask(second, system("B"), HELLO, {"role": "user", "content": "two"})

    diverged = (await second.calls())[2]["diverged"]
    assert isinstance(diverged, dict)
    assert (diverged["field"], diverged["was"], diverged["is"]) == ("messages[2].content", "one", "two")


async def test_an_attempt_that_has_replayed_everything_has_not_left_the_way(agent: Agent) -> None:
    await ask(agent, HELLO)

    second = await agent.lost()
    await ask(second, HELLO)
    await ask(second, HELLO, HELLO)

    assert [call.get("diverged") for call in await second.calls()] == [None] * 3


async def test_an_agent_that_is_ahead_of_another_has_not_left_the_way(agent: Agent) -> None:
    ours, theirs = system("Ours."), system("Theirs.")
    more: Json = {"role": "user", "content": "More."}
    await ask(agent, ours, HELLO)
    await ask(agent, theirs, HELLO)
    await ask(agent, theirs, HELLO, more)

    second = await agent.lost()
    await ask(second, ours, HELLO)
    await ask(second, ours, HELLO, more)
    await ask(second, theirs, HELLO)
    await ask(second, theirs, HELLO, HELLO)

    calls = (await second.calls())[3:]
    assert [call["how"] for call in calls] == ["exact", "live", "exact", "live"]
    assert ["diverged" in call for call in calls] == [False, False, False, True]


@pytest.fixture
async def tolerant(engine: Engine, settings: Settings, clock: FakeClock) -> AsyncIterator[Agent]:
    """An agent at a gateway that overlooks times."""
    gateway = Gateway(engine, msgspec.structs.replace(settings, journal="normalised"), clock, patience=HASTE)
    await gateway.start()
    yield Agent(engine, gateway, *await runs_factory.running(engine))
    await gateway.stop()


async def test_a_prompt_that_tells_the_time_is_found_if_that_is_allowed(
    tolerant: Agent, provider: Provider
) -> None:
    first = await ask(tolerant, system("It is 09:12."), HELLO)

    second = await tolerant.lost()
    again = await ask(second, system("It is 09:14."), HELLO)
    further = await ask(second, system("It is 09:15."), HELLO)

    assert again.content == first.content
    assert again.headers["x-outlast-replayed"] == "normalised"
    assert "x-outlast-replayed" not in further.headers
    assert [call["how"] for call in await second.calls()] == ["live", "normalised", "live"]
    assert len(provider.asked) == 2


async def test_the_exact_question_comes_before_a_similar_one(tolerant: Agent, provider: Provider) -> None:
    first = [await ask(tolerant, system(f"It is 09:1{n}."), HELLO) for n in range(2)]

    second = await tolerant.lost()
    again = [await ask(second, system(f"It is 09:1{n}."), HELLO) for n in (1, 0)]

    assert [answer.content for answer in again] == [first[1].content, first[0].content]
    assert [answer.headers["x-outlast-replayed"] for answer in again] == ["exact", "exact"]
