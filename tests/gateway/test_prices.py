"""What a call costs: the operator's price, else the library's, else nobody knows; and nothing is asked of a network."""

import socket
import subprocess
import sys

import pytest

from outlast.config import Settings
from outlast.gateway.prices import COST_MAX, Prices
from outlast.gateway.target import Target
from outlast.gateway.upstream import Route
from outlast.gateway.usage import Tokens
from outlast.providers import PriceConfig
from outlast.runs import Usage
from tests.gateway.conftest import ASK, STREAM, Agent
from tests.provider import Provider, Say

CHAT = "/chat/completions"
AT = 1_795_000_000_000
OPENAI = Target("https://api.openai.com/v1")
ANTHROPIC = Target("https://api.anthropic.com/v1")
OWN = {
    "fast": PriceConfig(0.15, 0.6),
    "cached": PriceConfig(1.0, 10.0, cache_read_per_mtok=0.1, cache_write_per_mtok=1.25),
    "free": PriceConfig(0.0, 0.0),
    "tiny": PriceConfig(0.0001, 0.0),
    "absurd": PriceConfig(1_000_000.0, 0.0),
}


@pytest.fixture
def settings(provider: Provider) -> Settings:
    prices = {"gpt-test": PriceConfig(0.15, 0.6)}
    return Settings(openai_base_url=provider.base_url, openai_api_key=provider.key, prices=prices)


def cost(
    target: Target, model: str, tokens: Tokens, *, alias: str | None = None, path: str = CHAT
) -> int | None:
    return Prices(OWN).cost(Route(target, alias or model, model), path, tokens, AT)


@pytest.mark.parametrize(
    ("model", "tokens", "nano_usd"),
    [
        ("fast", Tokens(1, 1), 750),
        ("fast", Tokens(1_000_000, 1_000_000), 750_000_000),
        ("cached", Tokens(1000, 10, 600, 300), 100_000 + 60_000 + 375_000 + 100_000),
        ("cached", Tokens(1000, 10), 1_100_000),
        ("fast", Tokens(1000, 0, 500, 500), 150_000),
        ("free", Tokens(1000, 10), 0),
        ("tiny", Tokens(1, 0), 0),
        ("tiny", Tokens(10, 0), 1),
        ("absurd", Tokens(COST_MAX, 0), None),
    ],
)
def test_the_operators_own_price_is_exact(model: str, tokens: Tokens, nano_usd: int | None) -> None:
    assert cost(OPENAI, model, tokens) == nano_usd
    assert cost(OPENAI, "elsewhere", tokens, alias=model) == nano_usd


@pytest.mark.parametrize(
    ("target", "model", "tokens", "nano_usd"),
    [
        (OPENAI, "gpt-4o-mini", Tokens(1000, 100), 210_000),
        (OPENAI, "gpt-4o-mini", Tokens(1000, 100, 500), 172_500),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(1000, 100, 500, 300), 3_375_000),
        (ANTHROPIC, "claude-sonnet-4-5", Tokens(1000, 100, 100, 300, 100), 4_680_000),
        (Target("https://x.openai.azure.com/openai/v1"), "gpt-4o-mini", Tokens(1000, 100), 210_000),
        (Target("http://10.0.0.1/v1", prices="openai"), "gpt-4o-mini", Tokens(1000, 100), 210_000),
    ],
)
def test_the_library_knows_providers_by_their_address(
    target: Target, model: str, tokens: Tokens, nano_usd: int
) -> None:
    assert cost(target, model, tokens) == nano_usd


@pytest.mark.parametrize(
    ("target", "model", "tokens"),
    [
        (OPENAI, "gpt-nobody-has-heard-of", Tokens(1000, 100)),
        (Target("https://llm.example/v1"), "gpt-4o-mini", Tokens(1000, 100)),
        (Target("http://127.0.0.1:11434/v1"), "gpt-4o-mini", Tokens(1000, 100)),
        (Target("http://ollama:11434/v1"), "gpt-4o-mini", Tokens(1000, 100)),
        (Target("http://10.0.0.1/v1", prices="nobody"), "gpt-4o-mini", Tokens(1000, 100)),
        (OPENAI, "text-embedding-3-small", Tokens(1000, 100)),
        (OPENAI, "gpt-4o-mini", Tokens(None, 100)),
        (OPENAI, "gpt-4o-mini", Tokens(1000, None)),
        (OPENAI, "fast", Tokens(1000, None)),
        (OPENAI, "gpt-4o-mini", Tokens(10, 100, 500)),
    ],
)
def test_what_is_not_known_is_not_zero(target: Target, model: str, tokens: Tokens) -> None:
    assert cost(target, model, tokens) is None


def test_embeddings_have_no_output_to_pay() -> None:
    assert cost(OPENAI, "text-embedding-3-small", Tokens(1000, None), path="/embeddings") == 20_000


def test_the_local_model_costs_nothing() -> None:
    assert cost(Target("http://127.0.0.1:1/v1", is_local=True), "demo", Tokens()) == 0


async def test_the_library_is_loaded_only_for_who_it_may_know() -> None:
    prices = Prices(OWN)

    for route in (
        Route(Target("http://127.0.0.1:1/v1"), None, "m"),
        Route(OPENAI, "fast", "gpt-4o-mini"),
        Route(Target("http://127.0.0.1:1/v1", is_local=True), "demo", "demo"),
    ):
        prices.begin(route)
    assert prices._loading is None

    prices.begin(Route(OPENAI, None, "gpt-4o-mini"))
    await prices.ready()
    assert "genai_prices" in sys.modules


PRICED = """
import asyncio, sys
from outlast.gateway.prices import Prices
from outlast.gateway.target import Target
from outlast.gateway.upstream import Route

async def main():
    prices = Prices({})
    prices.begin(Route(Target("https://api.openai.com/v1"), None, "gpt-4o-mini"))
    await prices.ready()
    print("genai_prices.data" in sys.modules)

asyncio.run(main())
"""


def test_what_takes_long_in_the_library_is_done_before_a_price_is_asked() -> None:
    out = subprocess.run(
        [sys.executable, "-c", PRICED], capture_output=True, text=True, check=True, timeout=60
    )

    assert out.stdout.strip() == "True"


def test_pricing_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a price was asked of a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert cost(OPENAI, "gpt-4o", Tokens(1000, 100)) is not None


def test_a_server_starts_without_the_library() -> None:
    code = "import sys, outlast.app, outlast.companion_main, outlast.gateway; print('genai_prices' in sys.modules)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert out.stdout.strip() == "False"


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_costs_add_up_beside_what_nobody_can_price(
    agent: Agent, provider: Provider, body: dict[str, object]
) -> None:
    provider.script(Say(input_tokens=1000, output_tokens=100), Say(input_tokens=1, output_tokens=1))

    async with agent.raw() as client:
        await client.post(CHAT, json=body)
        await client.post(CHAT, json={**body, "model": "unheard-of"})

    assert (await agent.head()).usage == Usage(2, 1001, 101, 210_000, 1)
    assert [call.get("cost_usd") for call in await agent.calls()] == [0.00021, None]
