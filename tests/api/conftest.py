"""A real server on a loopback port of its own, over both stores in turn, without any worker but the test's `driver`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import pytest
import uvicorn
from starlette.types import ASGIApp

from outlast.api import create_api
from outlast.api.body import Limits
from outlast.api.protocol import HttpProtocol
from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.runners.registry import Registry
from outlast.store.protocol import Store
from outlast.webhooks.address import check_url
from tests.api import documented
from tests.api.driver import Driver
from tests.api.waiting import until
from tests.kept import Kept
from tests.postgres import Postgres


class Served(msgspec.Struct, frozen=True):
    """A server that answers, and a client for it whose every answer is held against the contract."""

    url: str
    http: httpx.AsyncClient
    engine: Engine
    draining: asyncio.Event

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def submit(self, prompt: str = "Hello", **fields: object) -> str:
        """The id of a run that was accepted; `echo` unless said otherwise."""
        body = {"prompt": prompt, **({"framework": "echo"} | fields)}
        answer = await self.http.post("/api/v1/runs", json=body)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def drain(self) -> None:
        self.draining.set()
        self.engine.wakeups.wake_all()


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
def clock() -> SystemClock:
    """Time passes here: the server waits for bodies, heartbeats and runs."""
    return SystemClock()


@pytest.fixture
def kept(tmp_path: Path, keeper: Postgres | None) -> Iterator[Kept]:
    """Where the store is kept."""
    kept = Kept(tmp_path, keeper)
    yield kept
    kept.remove()


@pytest.fixture
async def store(kept: Kept, clock: SystemClock) -> AsyncIterator[Store]:
    """An open store; its promises are checked at the end."""
    store = kept.store(clock)
    await store.open()
    yield store
    await store.close()
    await kept.check()


@pytest.fixture
def agent_root(tmp_path: Path) -> Path:
    """Where agent files are found."""
    root = tmp_path / "agents"
    root.mkdir()
    return root


@pytest.fixture
async def serve(engine: Engine, agent_root: Path) -> AsyncIterator[Serve]:
    """Start a server: `await serve(api_keys=("k",))` changes settings; what is no setting has a name here."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            has_model: bool = True,
            limits: Limits | None = None,
            host: str = "127.0.0.1",
            root_path: str = "",
            registry: Registry | None = None,
            headers: dict[str, str] | None = None,
            **changes: object,
        ) -> Served:
            settings = msgspec.convert({"agent_root": agent_root, **changes}, Settings)
            draining = asyncio.Event()
            app = create_api(
                engine,
                registry or Registry(settings),
                settings,
                lambda: has_model,
                lambda url: check_url(url, settings),
                draining,
                limits=limits,
            )
            port = await stack.enter_async_context(listening(app, host, root_path))
            url = f"http://{host if host != '0.0.0.0' else '127.0.0.1'}:{port}"
            hooks = {"response": [_check]}
            client = httpx.AsyncClient(
                base_url=url, headers=headers, timeout=20, trust_env=False, verify=False, event_hooks=hooks
            )
            await stack.enter_async_context(client)
            return Served(url, client, engine, draining)

        yield start


async def _check(answer: httpx.Response) -> None:
    streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
    if not streamed:
        await answer.aread()
    documented.check(answer, with_body=not streamed)


@asynccontextmanager
async def listening(app: ASGIApp, host: str = "127.0.0.1", root_path: str = "") -> AsyncIterator[int]:
    """uvicorn on a free port, on this loop; gives the port."""
    config = uvicorn.Config(
        app,
        host=host,
        port=0,
        root_path=root_path,
        http=HttpProtocol,
        lifespan="off",
        ws="none",
        log_level="error",
        loop="none",
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()  # not `serve`, whose loop looks up every 0.1 s and takes over the signals
    yield server.servers[0].sockets[0].getsockname()[1]
    for connection in list(server.server_state.connections):
        connection.shutdown()
    for listener in server.servers:
        listener.close()
    await until(
        lambda: not (server.server_state.connections or server.server_state.tasks), "all requests to end", 10
    )


@pytest.fixture
async def served(serve: Serve) -> Served:
    """A server as it comes out of the box."""
    return await serve()


@pytest.fixture
def driver(engine: Engine) -> Driver:
    """The worker's part, played by the test."""
    return Driver(engine)


@pytest.fixture
async def working(driver: Driver) -> AsyncIterator[Driver]:
    """A worker that answers whatever comes."""
    task = asyncio.create_task(driver.work())
    yield driver
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
