"""Anthropic's dialect: its client as the agent, its key at the provider, its form of errors, its way of counting."""

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam

from outlast.config import Settings
from outlast.gateway.dialect import COUNT_TOKENS, MESSAGES
from outlast.gateway.usage import Mark, Meter, Tokens
from outlast.runs import Usage
from tests.gateway.conftest import Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Say

ASKED: list[MessageParam] = [{"role": "user", "content": "What is 2+2?"}]
ASK: Json = {"model": "claude-test", "max_tokens": 9, "messages": ASKED}
VERSION = {"anthropic-version": "2023-06-01"}
CACHED: Json = {
    "input_tokens": 10,
    "cache_read_input_tokens": 200,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 5,
}


@pytest.fixture
def settings(provider: Provider) -> Settings:
    return Settings(
        anthropic_base_url=provider.base_url.removesuffix("/v1"),
        anthropic_api_key=provider.key,
        openai_base_url="http://127.0.0.1:9/v1",
        openai_api_key="sk-other",
        model="gpt-test",
    )


def client(agent: Agent) -> anthropic.AsyncAnthropic:
    """As an agent makes it of ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY."""
    base_url = agent.grant.base_url.removesuffix("/v1")
    return anthropic.AsyncAnthropic(base_url=base_url, api_key=agent.grant.token, max_retries=0)


async def test_anthropics_client_gets_its_answer_for_the_upstreams_key(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("Four.", input_tokens=7, output_tokens=3))

    async with client(agent) as claude:
        answer = await claude.messages.create(model="claude-test", max_tokens=9, messages=ASKED)

    assert answer.content[0].to_dict() == {"type": "text", "text": "Four."}
    (asked,) = provider.asked
    assert asked.path == "/v1/messages"
    assert asked.headers["x-api-key"] == provider.key
    assert "authorization" not in asked.headers
    assert "anthropic-version" in asked.headers
    assert (await agent.head()).usage == Usage(1, 7, 3, unpriced_calls=1)


async def test_a_bearer_token_opens_it_too_and_never_goes_up(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as raw:
        answer = await raw.post(MESSAGES, json=ASK, headers=VERSION)

    assert answer.status_code == 200
    assert agent.grant.token not in str(provider.asked[0].headers)


async def test_a_stream_is_counted_from_its_beginning_and_its_end(agent: Agent, provider: Provider) -> None:
    provider.script(Say("two and two", output_tokens=3, usage=CACHED))

    async with (
        client(agent) as claude,
        claude.messages.stream(model="claude-test", max_tokens=9, messages=ASKED) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])

    assert text == "two and two"
    assert (await agent.head()).usage == Usage(1, 240, 3, unpriced_calls=1)
    (call,) = await agent.calls()
    assert {name: call[name] for name in call if name.endswith("_tokens")} == {
        "input_tokens": 240,
        "output_tokens": 3,
        "cache_read_tokens": 200,
        "cache_write_tokens": 30,
    }
    assert call["streamed"] is True


async def test_counting_tokens_is_no_model_call(agent: Agent, provider: Provider) -> None:
    provider.script(Say(input_tokens=42))

    async with client(agent) as claude:
        counted = await claude.messages.count_tokens(model="claude-test", messages=ASKED)

    assert counted.input_tokens == 42
    assert provider.asked[0].path == f"/v1{COUNT_TOKENS}"
    assert (await agent.head()).usage == Usage()
    assert [call["path"] for call in await agent.calls()] == [f"/v1{COUNT_TOKENS}"]


async def test_the_providers_errors_pass_as_they_come(agent: Agent, provider: Provider) -> None:
    provider.script(Fail(400, f"max_tokens is too large, {provider.key}"))

    async with client(agent) as claude:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await claude.messages.create(model="claude-test", max_tokens=9, messages=ASKED)

    assert refused.value.body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "max_tokens is too large, ***"},
        "request_id": "req_1",
    }


async def test_our_own_refusals_are_in_anthropics_form(agent: Agent, provider: Provider) -> None:
    agent.gateway.revoke(agent.attempt_id)

    async with client(agent) as claude:
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            await claude.messages.create(model="claude-test", max_tokens=9, messages=ASKED)

    assert refused.value.body == {
        "type": "error",
        "error": {
            "type": "permission_error",
            "message": "This attempt no longer holds its run; it may make no further model calls.",
            "code": "attempt_over",
        },
    }
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert provider.asked == []


async def test_models_are_listed_in_anthropics_form_when_it_is_asked_for(agent: Agent) -> None:
    async with agent.raw() as raw:
        ours = (await raw.get("/models", headers=VERSION)).json()
        theirs = (await raw.get("/models")).json()

    assert (ours["has_more"], theirs["object"]) == (False, "list")
    assert [model["id"] for model in theirs["data"]] == ["gpt-test"]


async def test_a_key_that_is_no_token_is_refused_in_anthropics_form(agent: Agent) -> None:
    async with httpx.AsyncClient(base_url=agent.grant.base_url, trust_env=False) as raw:
        answer = await raw.post(MESSAGES, json=ASK, headers={"x-api-key": "sk-made-up"})

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("event", "mark", "tokens"),
    [
        (b'data: {"type":"message_stop"}\n\n', Mark.LAST, Tokens()),
        (
            b'data: {"type":"content_block_delta","delta":{"text":"\\"message_stop\\""}}\n\n',
            Mark.PLAIN,
            Tokens(),
        ),
        (
            b'data: {"type":"message_start","message":{"usage":{"input_tokens":2,"output_tokens":1}}}\n\n',
            Mark.PLAIN,
            Tokens(2, 1),
        ),
        (b'data: {"type":"message_delta","usage":{"output_tokens":9}}\n\n', Mark.PLAIN, Tokens(None, 9)),
        (b'data: {"type":"error","error":{"type":"overloaded_error"}}\n\n', Mark.LAST, Tokens()),
    ],
)
def test_its_events_are_read_for_what_they_tell(event: bytes, mark: Mark, tokens: Tokens) -> None:
    meter = Meter()

    assert meter.event(event) is mark
    assert meter.tokens == tokens


@pytest.mark.parametrize(
    "usage",
    [
        b'"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}',
        b'"usage":{"input_tokens":9,"output_tokens":2,"input_tokens_details":{"cached_tokens":4}}',
        b'"usage":{"input_tokens":5,"output_tokens":2,"cache_read_input_tokens":4}',
    ],
)
def test_what_came_from_a_cache_is_input_in_every_dialect(usage: bytes) -> None:
    meter = Meter()

    meter.whole(b"{%s}" % usage)

    assert meter.tokens == Tokens(9, 2, 4)
