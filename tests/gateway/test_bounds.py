"""What one agent, or all of them together, may have in flight: the rest waits, and is told when it waits too long."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway, arrival, endpoint
from outlast.gateway.grants import MAX_IN_FLIGHT
from outlast.gateway.room import Room
from tests import runs_factory
from tests.gateway.conftest import ASK, Agent
from tests.provider import Provider, Say

URL = "/chat/completions"


async def test_calls_beyond_those_that_an_attempt_may_have_in_flight_wait_for_their_turn(
    agent: Agent, provider: Provider
) -> None:
    many = MAX_IN_FLIGHT + 10
    provider.answer = lambda asked: Say(hold_after=0)
    async with agent.raw() as client:
        calls = [asyncio.create_task(client.post(URL, json=ASK)) for _ in range(many)]
        await provider.until(lambda: len(provider.asked) == MAX_IN_FLIGHT, "as many as may be")
        await asyncio.sleep(0.1)  # what must not happen has no sign
        in_flight = len(provider.asked)
        provider.answer = lambda asked: Say()
        provider.release()
        answers = await asyncio.gather(*calls)

    assert in_flight == MAX_IN_FLIGHT
    assert [answer.status_code for answer in answers] == [200] * many


async def test_calls_beyond_those_that_may_wait_are_told_so(
    agent: Agent, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "MAX_WAITING", 0)
    provider.answer = lambda asked: Say(hold_after=0)
    async with agent.raw() as client:
        calls = [asyncio.create_task(client.post(URL, json=ASK)) for _ in range(MAX_IN_FLIGHT)]
        await provider.until(lambda: len(provider.asked) == MAX_IN_FLIGHT, "as many as may be")
        refused = await client.post(URL, json=ASK)
        provider.release()
        await asyncio.gather(*calls)

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "too_many_calls"
    assert "x-should-retry" not in refused.headers


async def test_a_call_that_waits_when_its_attempt_is_over_reaches_nobody(
    agent: Agent, provider: Provider
) -> None:
    provider.answer = lambda asked: Say(hold_after=0)
    async with agent.raw() as client:
        many = MAX_IN_FLIGHT + 1
        calls = [asyncio.create_task(client.post(URL, json=ASK)) for _ in range(many)]
        await provider.until(lambda: len(provider.asked) == MAX_IN_FLIGHT, "as many as may be")
        agent.gateway.revoke(agent.attempt_id)
        answers = await asyncio.gather(*calls)

    assert {answer.status_code for answer in answers} == {403}
    assert len(provider.asked) == MAX_IN_FLIGHT


@pytest.fixture
async def tight(
    engine: Engine, settings: Settings, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Agent]:
    """An agent at a gateway that has room for one body of 600 bytes, and little patience."""
    monkeypatch.setattr(endpoint, "MAX_BUFFERED", 1000)
    monkeypatch.setattr(endpoint, "WAIT_S", 0.2)
    monkeypatch.setattr(arrival, "BODY_S", 0.2)
    gateway = Gateway(engine, settings, clock)
    await gateway.start()
    run, attempt_id = await runs_factory.running(engine)
    yield Agent(engine, gateway, run, attempt_id)
    await gateway.stop()


LARGE = {**ASK, "user": "x" * 600}


async def test_bodies_that_find_no_memory_wait_and_then_are_told_so(tight: Agent, provider: Provider) -> None:
    provider.script(Say(hold_after=0), Say())
    async with tight.raw() as client:
        first = asyncio.create_task(client.post(URL, json=LARGE))
        await provider.until(lambda: len(provider.asked) == 1, "the first call")
        refused = await client.post(URL, json=LARGE)
        waiting = asyncio.create_task(client.post(URL, json=LARGE))
        provider.release()
        answers = [await first, await waiting]

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "gateway_busy"
    assert "x-should-retry" not in refused.headers
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_body_of_unknown_length_takes_no_more_memory_than_it_has(
    tight: Agent, provider: Provider
) -> None:
    provider.script(Say(hold_after=0), Say())
    async with tight.raw() as client:
        first = asyncio.create_task(client.post(URL, content=_pieces(b'{"model": "m"}')))
        await provider.until(lambda: len(provider.asked) == 1, "the first call")
        second = await client.post(URL, json=LARGE)
        provider.release()
        answers = [await first, second]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_body_that_does_not_arrive_gives_its_memory_back(tight: Agent, provider: Provider) -> None:
    never = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with tight.raw() as client:
        stalled = asyncio.create_task(client.post(URL, content=stalls()))
        await asyncio.sleep(0)
        answers = [await client.post(URL, json=LARGE) for _ in range(2)]
        never.set()
        refused = await stalled

    assert answers[-1].status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (408, "request_timeout")


async def test_a_room_is_shared_in_the_order_of_asking_and_nobody_who_left_holds_a_share() -> None:
    room = Room(10)
    order: list[str] = []

    async def ask(name: str, amount: int) -> None:
        async with room.share(amount):
            order.append(name)

    async with room.share(8):
        tasks = [asyncio.create_task(ask(*words)) for words in (("much", 9), ("gone", 5), ("little", 1))]
        await asyncio.sleep(0)
        assert (room.waiting, order) == (3, [])
        tasks[0].cancel()
        tasks[1].cancel()
        await tasks[2]

    async with room.share(99) as everything:
        assert everything.amount == 10
    assert (order, room.waiting) == (["little"], 0)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
