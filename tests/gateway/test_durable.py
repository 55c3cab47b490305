"""Tools and steps in Python, inside a run and outside of one."""

import asyncio
import dataclasses
import inspect
from decimal import Decimal
from typing import get_type_hints

import msgspec
import pytest

from outlast import StepError, StepFailed, durable, tool
from outlast.durable import Steps
from outlast.runs import Caller
from outlast.steps import Step
from outlast.store.protocol import Page
from tests.gateway.conftest import Agent
from tests.gateway.test_steps import successor

ME = Caller()


def steps_of(agent: Agent) -> Steps:
    return Steps(agent.grant.base_url.removesuffix("/v1") + "/run", agent.grant.token)


def be(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is in the attempt."""
    monkeypatch.setenv("OUTLAST_RUN_URL", agent.grant.base_url.removesuffix("/v1") + "/run")
    monkeypatch.setenv("OUTLAST_RUN_TOKEN", agent.grant.token)


async def kept(agent: Agent) -> tuple[Step, ...]:
    return (await agent.engine.steps.page(ME, agent.run_id, Page(100))).steps


@dataclasses.dataclass
class Price:
    euros: Decimal


async def test_a_tool_is_called_once_over_all_attempts(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    @tool
    def search(query: str, most: int = 3) -> dict[str, object]:
        called.append(query)
        return {"query": query, "found": most}

    be(agent, monkeypatch)
    first = await asyncio.to_thread(search, "a")
    be(await successor(agent), monkeypatch)
    second = await asyncio.to_thread(search, query="a")
    other = await asyncio.to_thread(search, "b")

    assert (first, second, other) == ({"query": "a", "found": 3}, first, {"query": "b", "found": 3})
    assert called == ["a", "b"]
    (step, _) = await kept(agent)
    assert (step.name, step.input) == ("search", b'{"query": "a", "most": 3}')


async def test_an_async_tool_is_called_once_over_all_attempts(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    @tool(effect="idempotent", name="look")
    async def search(query: str) -> str:
        called.append(query)
        await asyncio.sleep(0)
        return query.upper()

    be(agent, monkeypatch)
    first = await asyncio.gather(*(search(query) for query in "abca"))
    be(await successor(agent), monkeypatch)
    second = await asyncio.gather(*(search(query) for query in "aabc"))

    assert (first, second) == (["A", "B", "C", "A"], ["A", "A", "B", "C"])
    assert sorted(called) == ["a", "a", "b", "c"]
    assert {step.name for step in await kept(agent)} == {"look"}


async def test_the_idempotency_key_is_handed_over_and_no_model_sees_it(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    @tool(effect="idempotent")
    def pay(euros: int, idempotency_key: str) -> None:
        """Pay somebody."""
        keys.append(idempotency_key)
        if len(keys) == 2:
            raise TimeoutError("too slow")

    pay(5)
    be(agent, monkeypatch)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(pay, 5)
    be(await successor(agent), monkeypatch)
    await asyncio.to_thread(pay, 5)

    assert keys[0].startswith("local_")
    assert keys[1].startswith("step_")
    assert keys[1] == keys[2]
    assert list(inspect.signature(pay).parameters) == ["euros"]
    assert get_type_hints(pay) == {"euros": int, "return": type(None)}
    assert (pay.__name__, pay.__doc__) == ("pay", "Pay somebody.")


async def test_a_once_tool_that_failed_fails_again(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []

    @tool(effect="once")
    def pay(euros: int) -> None:
        called.append(euros)
        raise ValueError("no \ud800 money")

    be(agent, monkeypatch)
    with pytest.raises(ValueError, match=r"no . money"):
        await asyncio.to_thread(pay, 5)
    be(await successor(agent), monkeypatch)
    with pytest.raises(StepFailed, match=r"ValueError: no \? money"):
        await asyncio.to_thread(pay, 5)

    assert called == [5]


@pytest.mark.parametrize("is_async", [False, True])
async def test_code_whose_run_waits_goes_no_further(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    def pay() -> None:
        raise AssertionError

    async def pay_async() -> None:
        raise AssertionError

    await asyncio.to_thread(steps_of(agent).begin, "pay", "once")
    second = steps_of(await successor(agent))
    monkeypatch.setattr(durable, "UNSURE_S", 0.01)

    async def come_to_it() -> None:
        if is_async:
            await second.do("pay", pay_async, effect="once")
        else:
            await asyncio.to_thread(second.do, "pay", pay, effect="once")

    with pytest.raises(StepError, match="waits for a person"):
        await come_to_it()


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (None, None),
        ((1, "ü"), [1, "ü"]),
        ({1: 2}, {"1": 2}),
        (Price(Decimal("1.50")), {"euros": "1.50"}),
        ("\ud800", "?"),
        ("x" * 100_000, "x" * 100_000),
    ],
    ids=str,
)
async def test_a_step_gives_what_json_makes_of_its_result_the_first_time_too(
    agent: Agent, value: object, given: object
) -> None:
    steps = steps_of(agent)

    def get() -> object:
        return value

    live = await asyncio.to_thread(steps.do, "get", get, key="k")
    replayed = await asyncio.to_thread(steps.do, "get", get, key="k")

    assert (live, replayed) == (given, given)


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": {1, 2}}], ids=["object", "nan", "set"])
async def test_a_result_that_is_no_json_fails_the_step(agent: Agent, value: object) -> None:
    with pytest.raises(StepError, match="has no JSON form"):
        await asyncio.to_thread(steps_of(agent).do, "get", lambda: value)

    (step,) = await kept(agent)
    assert step.error is not None
    assert "has no JSON form" in step.error


async def test_any_argument_will_do(agent: Agent) -> None:
    def get(*things: object, **more: object) -> int:
        return len(things) + len(more)

    args = (object(), {1, 2}, b"x", Price(Decimal(1)))
    assert await asyncio.to_thread(steps_of(agent).do, "get", get, args, {"z": asyncio}) == 5

    (step,) = await kept(agent)
    assert step.input is not None
    assert msgspec.json.decode(step.input) == {
        "things": ["<object>", "<set>", "<bytes>", {"euros": "1"}],
        "more": {"z": "<module>"},
    }


async def test_an_attempt_that_is_over_can_begin_nothing(agent: Agent) -> None:
    agent.gateway.revoke(agent.attempt_id)

    with pytest.raises(StepError, match="no longer holds its run"):
        await asyncio.to_thread(steps_of(agent).begin, "a", "read")


def test_without_a_gateway_there_is_no_step() -> None:
    with pytest.raises(StepError, match="cannot be reached at OUTLAST_RUN_URL"):
        Steps("http://127.0.0.1:9/run", "t").begin("a", "read")


def test_outside_of_a_run_a_tool_is_its_function() -> None:
    price = Price(Decimal(1))

    @tool(effect="once")
    def get() -> Price:
        return price

    assert get() is price


def test_what_cannot_be_a_tool_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="effect is read, idempotent or once, not 'twice'"):
        tool(effect="twice")  # type: ignore[call-overload]  # on purpose
    with pytest.raises(TypeError, match="is a generator"):

        @tool
        def count() -> object:
            yield 1
