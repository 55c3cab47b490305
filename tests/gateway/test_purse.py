"""What a run may use, with calls side by side: at most one call beyond it, and nobody waits for nothing."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.births import born
from outlast.gateway.purse import Guess, Overdrawn, Purse
from outlast.runs import Budget, Caller, Run, Usage
from tests.runs_factory import new_run

TEN = Guess(10, 10)


def a_run(budget: Budget, used: Usage | None = None) -> Run:
    run = born("run_1", Caller(), new_run(), 1)
    return msgspec.structs.replace(run, budget=budget, usage=used or Usage(), seq=1)


def after(run: Run, used: Usage) -> Run:
    """The run once a call has come to so much."""
    return msgspec.structs.replace(run, usage=run.usage + used, seq=run.seq + 1)


async def test_calls_that_fit_go_side_by_side() -> None:
    purse = Purse(a_run(Budget(max_tokens=30)))

    await asyncio.gather(*(purse.take(TEN) for _ in range(3)))
    fourth = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    assert not fourth.done()
    await purse.settle(TEN)
    await fourth


async def test_what_is_used_up_is_said_and_not_while_calls_are_in_flight() -> None:
    run = a_run(Budget(max_cost_nano_usd=10))
    purse = Purse(run)
    await purse.take(TEN)
    second = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    assert not second.done()
    await purse.told(after(run, Usage(1, 5, 5, 10)))
    await purse.settle(TEN)
    with pytest.raises(Overdrawn):
        await second


async def test_who_waits_for_calls_in_flight_goes_on_when_there_is_more() -> None:
    run = a_run(Budget(max_tokens=10))
    purse = Purse(run)
    await purse.take(TEN)
    waiting = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    await purse.told(msgspec.structs.replace(run, budget=Budget(max_tokens=20), seq=2))

    await asyncio.wait_for(waiting, 5)


async def test_older_news_of_the_run_change_nothing() -> None:
    run = a_run(Budget(max_tokens=10))
    purse = Purse(msgspec.structs.replace(run, seq=5))

    await purse.told(after(run, Usage(1, 10, 0)))

    await purse.take(TEN)


async def test_a_call_that_was_not_answered_gives_back_what_it_held() -> None:
    purse = Purse(a_run(Budget(max_tokens=10)))
    for _ in range(5):
        await purse.take(TEN)
        await purse.settle(TEN)


async def test_without_a_budget_nothing_waits() -> None:
    purse = Purse(a_run(Budget()))

    assert purse.is_unlimited
    await asyncio.gather(*(purse.take(Guess(10**9)) for _ in range(50)))


@given(limit=st.integers(1, 300), calls=st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_fifty_calls_at_once_take_at_most_one_call_more_than_there_is(limit: int, calls: list[int]) -> None:
    run = a_run(Budget(max_tokens=limit))

    async def one(purse: Purse, tokens: int) -> None:
        nonlocal run
        try:
            await purse.take(Guess(tokens))
        except Overdrawn:
            return
        await asyncio.sleep(0)
        run = after(run, Usage(1, tokens, 0))
        await purse.told(run)
        await purse.settle(Guess(tokens))

    async def all_at_once() -> None:
        purse = Purse(run)
        await asyncio.gather(*(one(purse, tokens) for tokens in calls))

    asyncio.run(all_at_once())

    assert min(limit, sum(calls)) <= run.usage.input_tokens <= limit + max(calls)
