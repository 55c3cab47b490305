"""Aliases: which upstream they mean, how it is asked, and who answers when it does not."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway
from outlast.gateway.dialect import MESSAGES
from outlast.providers import ModelConfig, PriceConfig, UpstreamConfig
from outlast.runs import Usage
from tests import runs_factory
from tests.gateway.conftest import ASK, HASTE, STREAM, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Say

SECOND = "sk-second-0123456789"
CHAT = "/chat/completions"


@pytest.fixture
def second() -> Iterator[Provider]:
    with Provider(key=SECOND) as provider:
        yield provider


@pytest.fixture
def settings(provider: Provider, second: Provider) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    return Settings(
        model="fast",
        upstreams={
            "first": UpstreamConfig(
                base_url=provider.base_url,
                key=provider.key,
                key_header="api-key",
                query={"api-version": "2026-01-01"},
                headers={"X-Team": "agents"},
                models=("gpt-4*",),
            ),
            "second": UpstreamConfig(base_url=second.base_url, key=SECOND),
            "gone": UpstreamConfig(base_url=nowhere, key="sk-gone-0123456789"),
            "claude": UpstreamConfig(kind="anthropic", base_url=second.base_url, key=SECOND),
        },
        models={
            "fast": ModelConfig("first", "gpt-4o-mini", ("slow",)),
            "slow": ModelConfig("second", "llama-3"),
            "lost": ModelConfig("gone", "x", ("fast", "slow")),
            "opus": ModelConfig("claude", "claude-opus"),
        },
        models_only=True,
        prices={"slow": PriceConfig(1.0, 10.0)},
    )


def asking(model: str, **more: object) -> Json:
    return {**ASK, "model": model, **more}


async def test_an_alias_is_asked_as_its_upstream_wants_it(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        answer = await client.post(
            f"{CHAT}?trace=1", json=asking("fast", seed=7), headers={"x-team": "mine", "x-own": "1"}
        )

    assert answer.status_code == 200
    (asked,) = provider.asked
    assert asked.json == {**ASK, "model": "gpt-4o-mini", "seed": 7}
    assert asked.query == "api-version=2026-01-01&trace=1"
    assert asked.headers["api-key"] == provider.key
    assert "authorization" not in asked.headers
    assert (asked.headers["x-team"], asked.headers["x-own"]) == ("agents", "1")
    (call,) = await agent.calls()
    assert (call["model"], call["upstream"]) == ("fast", "first")
    assert "alias" not in call


async def test_default_is_an_alias_too(engine: Engine, gateway: Gateway, provider: Provider) -> None:
    agent = Agent(engine, gateway, *await runs_factory.running(engine), model=None)

    async with agent.raw() as client:
        await client.post(CHAT, json=asking("default"))

    assert provider.asked[0].json["model"] == "gpt-4o-mini"
    assert [call["model"] for call in await agent.calls()] == ["fast"]


async def test_what_an_upstream_allows_by_name_goes_there_as_it_is(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        await client.post(CHAT, json=asking("gpt-4.1"))

    assert provider.asked[0].json["model"] == "gpt-4.1"


@pytest.mark.parametrize("failure", [429, 500, 503])
async def test_when_an_upstream_is_given_up_the_next_alias_answers(
    agent: Agent, provider: Provider, second: Provider, failure: int
) -> None:
    provider.answer = lambda asked: Fail(failure)
    second.script(Say("Four.", input_tokens=1000, output_tokens=100))

    async with agent.raw() as client:
        answer = await client.post(CHAT, json=asking("fast"))

    assert answer.json()["choices"][0]["message"]["content"] == "Four."
    assert len(provider.asked) == HASTE.tries
    assert second.asked[0].json["model"] == "llama-3"
    assert second.asked[0].headers["authorization"] == f"Bearer {SECOND}"
    (call,) = await agent.calls()
    assert (call["model"], call["alias"], call["upstream"], call["status"]) == ("fast", "slow", "second", 200)
    assert call["cost_usd"] == 0.002
    assert (await agent.head()).usage == Usage(1, 1000, 100, 2_000_000)


async def test_an_upstream_that_is_not_there_is_passed_over(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        answer = await client.post(CHAT, json=asking("lost"))

    assert answer.status_code == 200
    assert provider.asked[0].json["model"] == "gpt-4o-mini"


async def test_when_all_fail_the_last_ones_words_are_passed_on(
    agent: Agent, provider: Provider, second: Provider
) -> None:
    provider.answer = lambda asked: Fail(500, "First.")
    second.answer = lambda asked: Fail(503, "Second.")

    async with agent.raw() as client:
        answer = await client.post(CHAT, json=asking("fast"))

    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Second.")
    assert answer.headers["x-should-retry"] == "false"
    assert (await agent.head()).usage == Usage()


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_another_upstream_cannot_help_with_stands(
    agent: Agent, provider: Provider, second: Provider, status: int
) -> None:
    provider.script(Fail(status))

    async with agent.raw() as client:
        answer = await client.post(CHAT, json=asking("fast"))

    assert answer.status_code == status
    assert second.asked == []


async def test_a_stream_that_has_begun_never_falls_back(
    agent: Agent, provider: Provider, second: Provider
) -> None:
    provider.script(Say("one two three", break_after=2))

    async with agent.raw() as client, client.stream("POST", CHAT, json={**STREAM, "model": "fast"}) as answer:
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()

    assert second.asked == []


async def test_a_stream_falls_back_before_it_begins(
    agent: Agent, provider: Provider, second: Provider
) -> None:
    provider.answer = lambda asked: Fail(529)

    async with agent.raw() as client:
        answer = await client.post(CHAT, json={**STREAM, "model": "fast"})

    assert "[DONE]" in answer.text
    assert second.asked[0].json["stream_options"] == {"include_usage": True}
    assert '"choices":[]' not in answer.text


async def test_what_is_not_allowed_is_refused_and_what_is_is_named(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        answer = await client.post(CHAT, json=asking("o3"))

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_allowed"
    assert answer.json()["error"]["message"] == (
        "This server does not let runs ask for the model 'o3', only for: fast, slow, lost, gpt-4*."
    )
    assert provider.asked == []


async def test_an_alias_is_not_to_be_had_in_the_other_dialect(agent: Agent, second: Provider) -> None:
    async with agent.raw() as client:
        wrong = await client.post(CHAT, json=asking("opus"))
        right = await client.post(MESSAGES, json=asking("opus"))
        other = await client.post(MESSAGES, json=asking("fast"))

    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "wrong_dialect")
    assert (right.status_code, second.asked[0].headers["x-api-key"]) == (200, SECOND)
    assert (other.status_code, other.json()["error"]["type"]) == (404, "not_found_error")


async def test_each_dialect_lists_what_can_be_asked_in_it(agent: Agent) -> None:
    async with agent.raw() as client:
        openais = (await client.get("/models")).json()["data"]
        anthropics = (await client.get("/models", headers={"anthropic-version": "2023-06-01"})).json()

    assert [model["id"] for model in openais] == ["fast", "slow", "lost"]
    assert [model["id"] for model in anthropics["data"]] == ["opus"]
    assert (anthropics["first_id"], anthropics["last_id"]) == ("opus", "opus")


async def test_no_key_is_in_the_database_a_log_or_an_answer(
    agent: Agent,
    provider: Provider,
    second: Provider,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.answer = lambda asked: Fail(500, f"You sent {asked.headers['api-key']}.")
    second.answer = lambda asked: Fail(401, f"You sent {SECOND}.")
    caplog.set_level("DEBUG")

    async with agent.raw() as client:
        answers = [
            await client.post(path, json=asking(model))
            for path, model in ((CHAT, "fast"), (CHAT, "lost"), (CHAT, "o3"), (MESSAGES, "opus"))
        ]

    said = "".join(answer.text for answer in answers) + caplog.text
    said += "".join(str(record.__dict__) for record in caplog.records)
    said += repr([await agent.calls(), await agent.head(), agent.gateway.reason(agent.attempt_id)])
    kept = _all_bytes_below(tmp_path)
    assert b"You sent ***" in kept
    assert "asking the next" in said
    for key in (provider.key, SECOND, "sk-gone-0123456789"):
        assert key not in said
        assert key.encode() not in kept


def _all_bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
