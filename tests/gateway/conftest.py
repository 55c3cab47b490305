"""A gateway between a scripted provider and an attempt that holds a run, with OpenAI's own client as the agent."""

from collections.abc import AsyncIterator, Iterator

import httpx
import msgspec
import openai
import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway import Gateway, Patience
from outlast.runs import Caller, EventKind, Run
from outlast.transitions import Cause
from tests import runs_factory
from tests.openai_wire import Json
from tests.provider import Provider

HASTE = Patience(first_s=0.01, longest_s=0.02)


class Agent:
    """An attempt and what it needs to call a model."""

    def __init__(
        self, engine: Engine, gateway: Gateway, run: Run, attempt_id: str, model: str | None = "gpt-granted"
    ) -> None:
        self.engine = engine
        self.gateway = gateway
        self.run_id = run.id
        self.attempt_id = attempt_id
        self.holds_lease = True
        """What its worker says of its lease."""
        self.grant = gateway.grant(run, attempt_id, model, lambda: self.holds_lease)

    async def lost(self, cause: Cause = Cause.WORKER) -> "Agent":
        """The same run's next attempt, after this one was lost."""
        await self.gateway.settle(self.attempt_id)
        await self.engine.lose(self.run_id, self.attempt_id, cause)
        self.gateway.revoke(self.attempt_id)
        return await self.next()

    async def next(self) -> "Agent":
        """The next attempt, of a run that is queued again."""
        (claimed,) = await runs_factory.claim(self.engine)
        assert claimed.run.attempt_id is not None
        return Agent(self.engine, self.gateway, claimed.run, claimed.run.attempt_id)

    def openai(self, max_retries: int = 0) -> openai.AsyncOpenAI:
        """OpenAI's client, as an agent has it."""
        return openai.AsyncOpenAI(
            base_url=self.grant.base_url, api_key=self.grant.token, max_retries=max_retries
        )

    def raw(self) -> httpx.AsyncClient:
        """A client that shows the bytes."""
        headers = {"authorization": f"Bearer {self.grant.token}"}
        return httpx.AsyncClient(base_url=self.grant.base_url, headers=headers, trust_env=False, timeout=30)

    async def head(self) -> Run:
        """The run as it is now."""
        return await self.engine.get(Caller(), self.run_id)

    async def calls(self) -> list[Json]:
        """The run's model calls, as its events tell them."""
        events = await self.engine.events(Caller(), self.run_id)
        return [msgspec.json.decode(e.data, type=Json) for e in events if e.kind is EventKind.MODEL_CALL]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def settings(provider: Provider) -> Settings:
    return Settings(openai_base_url=provider.base_url, openai_api_key=provider.key, model="gpt-test")


@pytest.fixture
async def gateway(engine: Engine, settings: Settings, clock: FakeClock) -> AsyncIterator[Gateway]:
    gateway = Gateway(engine, settings, clock, patience=HASTE)
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def agent(engine: Engine, gateway: Gateway) -> Agent:
    run, attempt_id = await runs_factory.running(engine)
    return Agent(engine, gateway, run, attempt_id)


ASK: Json = {"model": "gpt-test", "messages": [{"role": "user", "content": "What is 2+2?"}]}
STREAM: Json = {**ASK, "stream": True}
COUNTED: Json = {**STREAM, "stream_options": {"include_usage": True}}
