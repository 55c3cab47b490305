"""What a run may use, with calls in parallel: never more than one call beyond it, and nobody waits for nothing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.gateway.purse import Guess, Hold, Overdrawn, Purse
from outlast.runs import Budget, Usage

TEN = Guess(10, 10)
NOTHING = Usage()
COST_TEN = Usage(1, 5, 5, 10)


async def test_calls_that_fit_go_side_by_side() -> None:
    purse = Purse(Budget(max_tokens=30), NOTHING)

    await asyncio.gather(*(purse.take(TEN) for _ in range(3)))
    fourth = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    assert not fourth.done()
    await purse.settle(Hold(10, 10), NOTHING)
    await fourth


async def test_a_call_of_unknown_size_goes_alone() -> None:
    purse = Purse(Budget(max_cost_nano_usd=1000), NOTHING)

    held = await purse.take(Guess())
    second = asyncio.create_task(purse.take(Guess(5, None)))
    await asyncio.sleep(0)

    assert not second.done()
    await purse.settle(held, COST_TEN)
    await second


async def test_what_is_used_up_is_said_and_not_while_calls_are_in_flight() -> None:
    purse = Purse(Budget(max_tokens=10), NOTHING)
    held = await purse.take(TEN)
    second = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    assert not second.done()
    await purse.settle(held, COST_TEN)
    with pytest.raises(Overdrawn):
        await second


async def test_who_waits_for_calls_in_flight_goes_on_when_there_is_more() -> None:
    purse = Purse(Budget(max_tokens=10), NOTHING)
    await purse.take(TEN)
    waiting = asyncio.create_task(purse.take(TEN))
    await asyncio.sleep(0)

    await purse.change(Budget(max_tokens=20))

    await asyncio.wait_for(waiting, 5)


async def test_a_call_that_was_not_answered_gives_back_what_it_held() -> None:
    purse = Purse(Budget(max_tokens=10), NOTHING)
    for _ in range(5):
        await purse.settle(await purse.take(TEN), NOTHING)

    assert purse.used == NOTHING


async def test_without_a_budget_nothing_waits() -> None:
    purse = Purse(Budget(), NOTHING)

    assert purse.is_unlimited
    await asyncio.gather(*(purse.take(Guess()) for _ in range(50)))


@given(
    limit=st.integers(1, 300),
    calls=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=50),
)
def test_fifty_calls_at_once_take_at_most_one_call_more_than_there_is(
    limit: int, calls: list[tuple[int, bool]]
) -> None:
    async def one(purse: Purse, tokens: int, *, is_known: bool) -> None:
        try:
            held = await purse.take(Guess(tokens if is_known else None))
        except Overdrawn:
            return
        await asyncio.sleep(0)
        await purse.settle(held, Usage(1, tokens, 0))

    async def all_at_once() -> int:
        purse = Purse(Budget(max_tokens=limit), NOTHING)
        await asyncio.gather(*(one(purse, tokens, is_known=is_known) for tokens, is_known in calls))
        return purse.used.input_tokens

    used, wanted = asyncio.run(all_at_once()), sum(tokens for tokens, _ in calls)

    assert min(limit, wanted) <= used <= limit + max(tokens for tokens, _ in calls)
