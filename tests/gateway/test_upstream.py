"""Where calls go: the provider, its proxy, or the local model."""

import asyncio

import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import ConfigError, NoModelConfigured
from outlast.gateway import Gateway
from outlast.gateway.dialect import Dialect
from outlast.gateway.upstream import Upstreams
from tests import runs_factory
from tests.gateway.conftest import ASK, Agent
from tests.provider import Provider, Say

PROXY = "http://proxy.example:3128"
DEMO = {**ASK, "model": "demo"}


async def test_demo_goes_to_the_local_model_and_takes_no_key_along(
    engine: Engine, clock: FakeClock, provider: Provider, settings: Settings
) -> None:
    with Provider(key="") as local:
        local.answer = lambda asked: Say("I am small.")

        async def start() -> str:
            return local.base_url

        gateway = Gateway(engine, settings, clock, local_model=start)
        await gateway.start()
        agent = Agent(engine, gateway, *await runs_factory.running(engine))
        async with agent.raw() as client:
            answer = await client.post("/chat/completions", json=DEMO)
            models = await client.get("/models")
        await gateway.stop()

    assert answer.json()["choices"][0]["message"]["content"] == "I am small."
    assert "authorization" not in local.asked[0].headers
    assert provider.asked == []
    assert [model["id"] for model in models.json()["data"]] == ["gpt-test", "demo"]


async def test_a_local_model_that_cannot_start_says_why(engine: Engine, clock: FakeClock) -> None:
    async def start() -> str:
        raise NoModelConfigured("The demo model is not here; `outlast model pull demo` fetches it.")

    gateway = Gateway(engine, Settings(model="demo"), clock, local_model=start)
    await gateway.start()
    agent = Agent(engine, gateway, *await runs_factory.running(engine))
    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=DEMO)
    await gateway.stop()

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_model_configured"
    assert "outlast model pull demo" in answer.json()["error"]["message"]
    assert "outlast model pull demo" in str(gateway.reason(agent.attempt_id))


async def test_a_local_model_is_not_asked_to_start_twice_at_once(engine: Engine, clock: FakeClock) -> None:
    steps: list[str] = []
    with Provider(key="") as local:

        async def start() -> str:
            steps.append("begin")
            await asyncio.sleep(0.01)
            steps.append("end")
            return local.base_url

        gateway = Gateway(engine, Settings(), clock, local_model=start)
        await gateway.start()
        agent = Agent(engine, gateway, *await runs_factory.running(engine))
        async with agent.raw() as client:
            answers = await asyncio.gather(*(client.post("/chat/completions", json=DEMO) for _ in range(3)))
        await gateway.stop()

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert steps == ["begin", "end"] * 3


async def test_without_any_model_the_refusal_says_what_to_set(engine: Engine, clock: FakeClock) -> None:
    gateway = Gateway(engine, Settings(), clock)
    await gateway.start()
    agent = Agent(engine, gateway, *await runs_factory.running(engine))
    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)
    await gateway.stop()

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "no_model_configured"
    assert "OPENAI_API_KEY" in answer.json()["error"]["message"]


async def _nowhere() -> str:
    return "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("settings", "local", "granted", "meant"),
    [
        (Settings(model="m"), False, None, "m"),
        (Settings(model="m"), False, "mine", "mine"),
        (Settings(openai_api_key="k"), True, None, "gpt-4o-mini"),
        (Settings(), True, None, "demo"),
        (Settings(), False, None, "default"),
    ],
)
def test_default_is_the_runs_model_else_the_servers(
    settings: Settings, local: bool, granted: str | None, meant: str
) -> None:
    assert Upstreams(settings, _nowhere if local else None).meant("default", granted) == meant


def test_a_base_url_that_is_none_refuses_to_start(engine: Engine, clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL has to be a URL"):
        Gateway(engine, Settings(openai_base_url="api.openai.com"), clock)


async def test_the_operators_proxy_is_used_but_never_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv("no_proxy", "inside.example")
    monkeypatch.setenv("http_proxy", PROXY)

    proxies = [
        await Upstreams(Settings(openai_base_url=url), None).find("m", Dialect.OPENAI)
        for url in (
            "https://a.example/v1",
            "https://inside.example/v1",
            "http://127.0.0.1:1/v1",
            "http://localhost/v1",
        )
    ]

    assert [route.target.proxy for routes in proxies if isinstance(routes, tuple) for route in routes] == [
        PROXY,
        None,
        None,
        None,
    ]


async def test_calls_go_through_the_proxy_with_its_password(
    engine: Engine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Provider() as proxy:
        address = proxy.base_url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://me:secret@{address}")
        settings = Settings(openai_base_url="http://model.example/v1", openai_api_key=proxy.key)
        gateway = Gateway(engine, settings, clock)
        await gateway.start()
        agent = Agent(engine, gateway, *await runs_factory.running(engine))
        async with agent.raw() as client:
            answer = await client.post("/chat/completions", json=ASK)
        await gateway.stop()

    assert answer.status_code == 200
    assert proxy.asked[0].headers["host"] == "model.example"
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
