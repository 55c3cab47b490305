"""A run's budget at the gateway: within one call of its limit, whatever is asked at once, and then it waits."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway
from outlast.providers import PriceConfig
from outlast.runs import Budget, Caller, RunState
from outlast.transitions import Afford
from tests import runs_factory
from tests.gateway.conftest import ASK, HASTE, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Say

TOKENS = 16
"""Of each call: the scripted provider's 11 and 5."""
COST = 11 * 1000 + 5 * 2000
"""Of each call, in nano-USD."""


@pytest.fixture
def settings(provider: Provider) -> Settings:
    prices = {"gpt-test": PriceConfig(1.0, 2.0)}
    return Settings(
        openai_base_url=provider.base_url, openai_api_key=provider.key, model="gpt-test", prices=prices
    )


@pytest.fixture
async def gateway(engine: Engine, settings: Settings, clock: FakeClock) -> AsyncIterator[Gateway]:
    gateway = Gateway(engine, settings, clock, patience=HASTE, held_s=0.05)
    await gateway.start()
    yield gateway
    await gateway.stop()


async def with_budget(engine: Engine, gateway: Gateway, budget: Budget) -> Agent:
    new = msgspec.structs.replace(runs_factory.new_run(), budget=budget)
    run, attempt_id = await runs_factory.running(engine, new)
    return Agent(engine, gateway, run, attempt_id)


def question(n: int, **more: object) -> Json:
    return {**ASK, "messages": [{"role": "user", "content": f"Question {n}"}], **more}


async def ask(client: httpx.AsyncClient, n: int, **more: object) -> int:
    return (await client.post("/chat/completions", json=question(n, **more))).status_code


@pytest.mark.parametrize("says_how_long", [True, False])
@pytest.mark.parametrize(
    "budget", [Budget(max_tokens=20 * TOKENS + 1), Budget(max_cost_nano_usd=20 * COST + 1)]
)
async def test_fifty_calls_at_once_stay_within_one_call_of_the_budget(
    engine: Engine, gateway: Gateway, budget: Budget, says_how_long: bool
) -> None:
    agent = await with_budget(engine, gateway, budget)
    more = {"max_tokens": 5} if says_how_long else {}

    async with agent.raw() as client:
        answers = await asyncio.gather(*(ask(client, n, **more) for n in range(50)))

    run = await agent.head()
    assert sorted(set(answers)) == [200, 403]
    assert answers.count(200) == run.usage.model_calls == 21
    assert run.usage.cost_nano_usd == 21 * COST
    assert (run.state, run.waiting_kind) == (RunState.WAITING, "budget")


async def test_a_run_that_is_given_more_goes_on_and_pays_for_nothing_twice(
    engine: Engine, gateway: Gateway, provider: Provider
) -> None:
    agent = await with_budget(engine, gateway, Budget(max_tokens=2 * TOKENS))
    async with agent.raw() as client:
        first = [await ask(client, n) for n in range(3)]

    run = await engine.afford(Caller(), agent.run_id, Afford(max_tokens=None))
    again = await agent.next()
    async with again.raw() as client:
        second = [await ask(client, n) for n in range(3)]

    assert (first, run.state, second) == ([200, 200, 403], RunState.QUEUED, [200, 200, 200])
    assert len(provider.asked) == (await again.head()).usage.model_calls == 3


async def test_a_call_that_is_held_goes_out_when_the_run_is_given_more(
    engine: Engine, settings: Settings, clock: FakeClock
) -> None:
    gateway = Gateway(engine, settings, clock, patience=HASTE, held_s=60)
    await gateway.start()
    agent = await with_budget(engine, gateway, Budget(max_tokens=1))
    async with agent.raw() as client:
        assert await ask(client, 1) == 200
        held = asyncio.create_task(ask(client, 2))
        await asyncio.wait((held,), timeout=0.1)
        assert not held.done()

        await engine.afford(Caller(), agent.run_id, Afford(max_tokens=1000))

        assert await asyncio.wait_for(held, 10) == 200
    assert (await agent.head()).state is RunState.RUNNING
    await gateway.stop()


async def test_what_was_not_answered_is_not_held_against_the_run(
    engine: Engine, gateway: Gateway, provider: Provider
) -> None:
    agent = await with_budget(engine, gateway, Budget(max_tokens=TOKENS))
    provider.script(Fail(status=400), Fail(status=401), Fail(status=403))

    async with agent.raw() as client:
        answers = [await ask(client, n) for n in range(4)]

    assert answers == [400, 401, 403, 200]


async def test_a_run_that_is_cancelled_holds_no_call_back(
    engine: Engine, gateway: Gateway, provider: Provider
) -> None:
    agent = await with_budget(engine, gateway, Budget(max_tokens=TOKENS))
    provider.script(Say(hold_after=0))
    async with agent.raw() as client:
        in_flight = asyncio.create_task(ask(client, 1))
        await provider.until(lambda: len(provider.asked) == 1, "the first call")
        waiting = asyncio.create_task(ask(client, 2))

        await engine.cancel(Caller(), agent.run_id)
        gateway.revoke(agent.attempt_id)

        assert {await asyncio.wait_for(call, 10) for call in (in_flight, waiting)} == {403}


async def test_a_limit_in_money_needs_a_price(engine: Engine, gateway: Gateway, provider: Provider) -> None:
    agent = await with_budget(engine, gateway, Budget(max_cost_nano_usd=10**9))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json={**ASK, "model": "gpt-nobody-knows"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "price_unknown")
    assert "gpt-nobody-knows" in answer.json()["error"]["message"]
    assert provider.asked == []
    assert gateway.reason(agent.attempt_id) == answer.json()["error"]["message"]


@pytest.mark.parametrize("length", [None, "many", -1, 1.5, 2**70, True])
async def test_a_length_that_makes_no_sense_is_the_providers_affair(
    engine: Engine, gateway: Gateway, length: object
) -> None:
    agent = await with_budget(engine, gateway, Budget(max_tokens=10**9))

    async with agent.raw() as client:
        body = msgspec.json.encode(question(1, max_tokens=length))
        answer = await client.post(
            "/chat/completions", content=body, headers={"content-type": "application/json"}
        )

    assert answer.status_code == 200


async def test_a_budget_set_while_the_run_goes_counts_from_the_next_call_on(
    engine: Engine, gateway: Gateway
) -> None:
    agent = await with_budget(engine, gateway, Budget())
    async with agent.raw() as client:
        assert await ask(client, 1) == 200
        await engine.afford(Caller(), agent.run_id, Afford(max_tokens=1))
        answers = [await ask(client, n) for n in (2, 3)]

    assert answers == [200, 403]


async def test_a_call_that_is_held_keeps_no_run_from_going_on_elsewhere(
    engine: Engine, settings: Settings, clock: FakeClock
) -> None:
    gateway = Gateway(engine, settings, clock, patience=HASTE, held_s=60)
    await gateway.start()
    agent = await with_budget(engine, gateway, Budget(max_tokens=1))
    async with agent.raw() as client:
        assert await ask(client, 1) == 200
        held = asyncio.create_task(ask(client, 2))
        await asyncio.wait((held,), timeout=0.1)

        again = await asyncio.wait_for(agent.lost(), 10)

        assert await asyncio.wait_for(held, 10) == 403
    assert (again.run_id, (await again.head()).state) == (agent.run_id, RunState.RUNNING)
    await gateway.stop()
