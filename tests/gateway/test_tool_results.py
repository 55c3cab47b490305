"""Results of tools that change from attempt to attempt are sent to the model as they were first sent."""

import httpx

from tests.gateway.conftest import Agent
from tests.openai_wire import Json
from tests.provider import Provider, Say

QUESTION: Json = {"role": "user", "content": "When is it?"}


def called(arguments: str = "{}", call_id: str = "call_1") -> Json:
    function = {"name": "now", "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def told(content: str, call_id: str = "call_1") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


async def ask(agent: Agent, *messages: Json) -> httpx.Response:
    async with agent.raw() as client:
        return await client.post("/chat/completions", json={"model": "m", "messages": messages})


def sent(provider: Provider, number: int) -> list[str]:
    """The results of tools in a call that reached the provider."""
    messages = provider.asked[number].json["messages"]
    assert isinstance(messages, list)
    return [message["content"] for message in messages if message["role"] == "tool"]


async def test_a_tool_that_tells_the_time_costs_nothing(agent: Agent, provider: Provider) -> None:
    await ask(agent, QUESTION)
    await ask(agent, QUESTION, called(), told("09:12"))

    second = await agent.lost()
    await ask(second, QUESTION)
    again = await ask(second, QUESTION, called(), told("09:14"))

    assert again.headers["x-outlast-replayed"] == "exact"
    assert len(provider.asked) == 2


async def test_a_live_call_has_the_results_that_the_model_has_seen(agent: Agent, provider: Provider) -> None:
    await ask(agent, QUESTION, called(), told("09:12"))

    second = await agent.lost()
    await ask(second, QUESTION, called(), told("09:14"))
    await ask(second, QUESTION, called(), told("09:14"), {"role": "user", "content": "And now?"})

    assert [sent(provider, n) for n in range(2)] == [["09:12"], ["09:12"]]


async def test_a_result_that_the_agent_shortens_on_purpose_comes_back_short(
    agent: Agent, provider: Provider
) -> None:
    await ask(agent, QUESTION, called(), told("a long answer at 09:12"))
    await ask(agent, QUESTION, called(), told("a long…"))

    second = await agent.lost()
    again = [
        await ask(second, QUESTION, called(), told("a long answer at 09:14")),
        await ask(second, QUESTION, called(), told("a lo…")),
        await ask(second, QUESTION, called(), told("…")),
    ]

    assert ["x-outlast-replayed" in answer.headers for answer in again] == [True, True, False]
    assert sent(provider, 2) == ["…"]


async def test_agents_whose_tool_calls_share_an_id_keep_their_own_results(
    agent: Agent, provider: Provider
) -> None:
    paris, london = called('{"in": "Paris"}'), called('{"in": "London"}')
    await ask(agent, QUESTION, paris, told("sun at 09:12"))
    await ask(agent, QUESTION, london, told("rain at 09:12"))

    second = await agent.lost()
    await ask(second, QUESTION, london, told("rain at 09:14"), QUESTION)
    await ask(second, QUESTION, paris, told("sun at 09:14"), QUESTION)

    assert [sent(provider, n) for n in (2, 3)] == [["rain at 09:12"], ["sun at 09:12"]]


async def test_a_call_made_twice_under_one_id_has_two_results(agent: Agent, provider: Provider) -> None:
    history = [QUESTION, called(), told("09:12"), called(), told("09:12")]
    await ask(agent, *history)

    second = await agent.lost()
    again = await ask(second, QUESTION, called(), told("09:14"), called(), told("09:15"))

    assert again.headers["x-outlast-replayed"] == "exact"


async def test_a_result_of_a_call_that_failed_is_pinned_by_the_next_that_does_not(
    agent: Agent, provider: Provider
) -> None:
    async with agent.raw() as client:
        provider.script(Say(break_after=1))
        body: Json = {"model": "m", "messages": [QUESTION, called(), told("09:12")], "stream": True}
        try:
            await client.post("/chat/completions", json=body)
        except httpx.RemoteProtocolError:
            pass  # as it was for the agent
    await ask(agent, QUESTION, called(), told("09:12"), QUESTION)

    await ask(await agent.lost(), QUESTION, called(), told("09:14"))

    assert sent(provider, 2) == ["09:12"]
