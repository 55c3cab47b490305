"""Only the token of an attempt that holds its run opens the gateway, and the provider's key stays behind it."""

import asyncio
import logging
import time

import httpx
import openai
import pytest

from outlast.runs import Caller
from tests.gateway.conftest import ASK, STREAM, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Say


@pytest.mark.parametrize(
    "key", ["sk-made-up", "sk-outlast-attempt_1-00000000000000000000000000000000", "sk-ü"]
)
async def test_without_a_token_of_a_run_nothing_opens(agent: Agent, provider: Provider, key: str) -> None:
    headers = {b"authorization": f"Bearer {key}".encode("latin-1")}
    async with httpx.AsyncClient(base_url=agent.grant.base_url, trust_env=False) as client:
        answer = await client.post("/chat/completions", json=ASK, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json() == {
        "error": {
            "message": "This endpoint answers to the token of a running attempt only: use the OPENAI_API_KEY that "
            "Outlast put in the agent's environment (ANTHROPIC_API_KEY is the same) as the bearer key, or as "
            "x-api-key.",
            "type": "authentication_error",
            "param": None,
            "code": "no_run_token",
        }
    }
    assert provider.asked == []


async def test_the_providers_own_key_opens_nothing(agent: Agent, provider: Provider) -> None:
    async with openai.AsyncOpenAI(
        base_url=agent.grant.base_url, api_key=provider.key, max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError, match="running attempt"):
            await client.models.list()


async def test_a_worker_that_outlived_its_lease_lets_no_call_through(
    agent: Agent, provider: Provider
) -> None:
    agent.holds_lease = False

    async with agent.openai(max_retries=3) as client:
        with pytest.raises(openai.PermissionDeniedError, match="no longer holds its run") as refused:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])

    assert refused.value.code == "attempt_over"
    assert provider.asked == []


async def test_a_revoked_token_is_refused_once_and_not_tried_again(agent: Agent, provider: Provider) -> None:
    agent.gateway.revoke(agent.attempt_id)

    async with agent.openai(max_retries=3) as client:
        with pytest.raises(openai.PermissionDeniedError, match="no longer holds its run") as refused:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])

    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.code == "attempt_over"
    assert provider.asked == []


async def test_an_attempt_that_was_fenced_gets_no_second_call(agent: Agent, provider: Provider) -> None:
    await agent.engine.cancel(Caller(), agent.run_id)

    async with agent.raw() as client:
        answers = [await client.post("/chat/completions", json=ASK) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 403]
    assert len(provider.asked) == 1


async def test_a_cut_is_seen_by_the_provider_before_the_answer_begins(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say(hold_after=0))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the call")

        cut_at = time.monotonic()
        agent.gateway.revoke(agent.attempt_id)
        answer = await call

    assert answer.status_code == 403
    assert answer.headers["x-should-retry"] == "false"
    await _assert_cut_soon(provider, cut_at)


async def test_a_cut_breaks_a_stream_off(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=2))
    async with agent.raw() as client, client.stream("POST", "/chat/completions", json=STREAM) as answer:
        pieces = answer.aiter_raw()
        await anext(pieces)

        cut_at = time.monotonic()
        agent.gateway.revoke(agent.attempt_id)
        with pytest.raises(httpx.RemoteProtocolError):
            await _drain(pieces)

    await _assert_cut_soon(provider, cut_at)


async def test_a_cut_ends_a_call_that_waits_for_its_next_try(agent: Agent, provider: Provider) -> None:
    provider.script(Fail(503, headers={"retry-after": "30"}))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: bool(provider.asked) and provider.asked[0].answered, "the call")

        agent.gateway.revoke(agent.attempt_id)
        answer = await asyncio.wait_for(call, 10)

    assert answer.status_code == 403
    assert len(provider.asked) == 1


async def test_what_is_in_flight_is_read_to_its_end_before_the_run_goes_on(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("Four.", hold_after=0))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the call")

        settling = asyncio.create_task(agent.gateway.settle(agent.attempt_id))
        provider.release()
        answer = await call
        await asyncio.wait_for(settling, 10)

    assert answer.status_code == 200
    assert (await agent.head()).usage.model_calls == 1


async def test_a_call_that_comes_while_others_are_settled_waits_and_is_refused_at_the_end(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("Four.", hold_after=0))
    async with agent.raw() as client:
        first = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the call")
        settling = asyncio.create_task(agent.gateway.settle(agent.attempt_id, until_it_asks=True))
        await asyncio.sleep(0)

        second = asyncio.create_task(client.post("/chat/completions", json=STREAM))
        provider.release()
        await asyncio.wait_for(settling, 10)
        assert not second.done()
        agent.gateway.revoke(agent.attempt_id)
        answers = await asyncio.gather(first, second)

    assert [answer.status_code for answer in answers] == [200, 403]
    assert len(provider.asked) == 1


async def test_a_call_that_is_waited_for_can_still_be_cut(agent: Agent, provider: Provider) -> None:
    provider.script(Say(hold_after=0))
    async with agent.raw() as client:
        call = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the call")
        settling = asyncio.create_task(agent.gateway.settle(agent.attempt_id))
        await asyncio.sleep(0)

        agent.gateway.revoke(agent.attempt_id)
        answer = await call
        await asyncio.wait_for(settling, 10)

    assert answer.status_code == 403
    await provider.until(lambda: provider.asked[0].disconnected_at is not None, "the cut")


async def test_a_cut_reaches_the_other_calls_of_a_fenced_attempt(agent: Agent, provider: Provider) -> None:
    provider.script(Say(hold_after=0))
    async with agent.raw() as client:
        held = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the call")
        await agent.engine.cancel(Caller(), agent.run_id)
        await client.post("/chat/completions", json=ASK)

        agent.gateway.revoke(agent.attempt_id)
        answer = await held

    assert answer.status_code == 403


async def test_a_call_whose_agent_has_left_is_read_to_its_end_and_cut_with_its_attempt(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say(hold_after=1), Say(hold_after=0))
    async with agent.raw() as client:
        calls = [asyncio.create_task(client.post("/chat/completions", json=ASK)) for _ in range(2)]
        await provider.until(lambda: len(provider.asked) == 2, "the calls")
        for call in calls:
            call.cancel()
    cut_at = time.monotonic()
    agent.gateway.revoke(agent.attempt_id)

    await _assert_cut_soon(provider, cut_at)
    assert await agent.calls() == []


async def test_stopping_the_gateway_cuts_everything(agent: Agent, provider: Provider) -> None:
    provider.script(Say(hold_after=0), Say("one two", hold_after=1))
    async with agent.raw() as client:
        whole = asyncio.create_task(client.post("/chat/completions", json=ASK))
        await provider.until(lambda: len(provider.asked) == 1, "the first call")
        streamed = asyncio.create_task(client.post("/chat/completions", json=STREAM))
        await provider.until(lambda: len(provider.asked) == 2, "the second call")

        await agent.gateway.stop()
        outcomes = await asyncio.gather(whole, streamed, return_exceptions=True)

    assert all(isinstance(outcome, httpx.Response | httpx.TransportError) for outcome in outcomes)
    await provider.until(lambda: all(asked.disconnected_at for asked in provider.asked), "the disconnects")


async def test_the_key_never_leaks(
    agent: Agent, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replies: list[Fail | Say] = [
        Fail(401, f"Incorrect API key provided: {provider.key}."),
        Fail(400, f"no {provider.key}"),
        Say(),
    ]
    provider.script(*replies)
    seen: list[Json | str] = []

    async with agent.raw() as client:
        for _ in replies:
            answer = await client.post("/chat/completions", json=ASK)
            seen += [answer.text, str(answer.headers)]

    seen += [str(await agent.calls()), str(agent.gateway.reason(agent.attempt_id)), caplog.text]
    assert len(provider.asked) == 3
    assert not [text for text in seen if provider.key in text]
    assert "What is 2+2" not in caplog.text


async def _drain(pieces: object) -> None:
    assert hasattr(pieces, "__aiter__")
    async for _ in pieces:
        pass


async def _assert_cut_soon(provider: Provider, since: float) -> None:
    await provider.until(lambda: provider.asked[0].disconnected_at is not None, "the provider to see the cut")
    assert provider.asked[0].disconnected_at is not None
    # 0.2 s are promised; the bound is generous because the machine may be busy.
    assert provider.asked[0].disconnected_at - since < 2
