"""Puts the parts together: store, engine, gateway, worker, webhook deliverer and API in one process.

`create_app` is the ASGI factory (`python -m uvicorn outlast.app:create_app --port 8005 --factory`); `serve` is the
same under `outlast serve`. To mount the app in another, run its `lifespan` in yours: a mount runs none by itself.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType

import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import localmodel, telemetry
from outlast.api import create_api
from outlast.api.auth import is_loopback
from outlast.api.protocol import HttpProtocol
from outlast.clock import Clock, SystemClock
from outlast.config import DEFAULT_MODEL, Settings, load, peer_leftovers, unknown_variables
from outlast.engine import Engine
from outlast.errors import ConfigError, OutlastError
from outlast.gateway import Gateway
from outlast.runners.registry import Registry
from outlast.store.sqlite import SqliteStore
from outlast.webhooks.address import check_url
from outlast.webhooks.deliver import Deliverer
from outlast.worker.loop import Worker

log = telemetry.get("app")

SWITCH_INTERVAL_S = 0.001
"""How long a busy event loop may keep the store's writer thread from its next statement (CPython: 5 ms)."""
GC_THRESHOLDS = (25_000, 20, 100)
"""New objects between looks for garbage (CPython: 700): a run is hundreds of objects, hardly any in a cycle."""
EXIT_NOT_STARTED = 1
STREAMS_END_S = 5
"""How long open requests may take to end once the server stops listening."""


class Server:
    """Everything one process runs. Start and stop it on one event loop, once."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        if settings.database_url is not None:
            raise ConfigError(
                "OUTLAST_DATABASE_URL is set, but this release has no PostgreSQL store: unset it, and runs are kept in "
                "OUTLAST_DATA_DIR."
            )
        clock = clock or SystemClock()
        self.settings = _with_model(settings)
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()
        self._parts = AsyncExitStack()
        self._store = SqliteStore(settings.data_dir, clock)
        self._local = localmodel.LocalModel()
        self.engine = Engine(self._store, clock)
        self._registry = Registry(self.settings)
        self._gateway = Gateway(self.engine, self.settings, clock, local_model=self._local.start)
        self._worker = Worker(self.engine, self.settings, self._registry.runners, self._gateway, clock)
        self._deliverer = Deliverer(self.engine, self.settings, clock)
        self.api = create_api(
            self.engine,
            self._registry,
            self.settings,
            self.has_model,
            lambda url: check_url(url, settings),
            self._draining,
            self._bound,
            closing=self._closing,
        )

    def _bound(self) -> tuple[str, int]:
        return self.settings.host, self.settings.port

    def has_model(self) -> bool:
        """Whether a run that needs a model can have one here."""
        return self.settings.model is not None

    async def start(self) -> None:
        """Start every part, each after what it needs; if one fails, those before it are stopped again."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.set_threshold(*GC_THRESHOLDS)
        async with AsyncExitStack() as parts:
            await self._store.open()
            parts.push_async_callback(self._store.close)
            parts.push_async_callback(self._local.stop)
            await self._gateway.start()
            parts.push_async_callback(self._gateway.stop)
            delivering = asyncio.create_task(self._deliverer.run())
            parts.push_async_callback(self._end_deliveries, delivering)
            await self._worker.start()
            parts.push_async_callback(self._worker.drain, 0)
            self._parts = parts.pop_all()
        gc.freeze()  # what is there now stays
        _say_what_started(self.settings)

    async def _end_deliveries(self, delivering: asyncio.Task[None]) -> None:
        await self._deliverer.stop()
        await delivering

    async def drain(self) -> None:
        """Claim and accept nothing more, let runs finish within the grace period, hand the rest back, end open streams.

        Polls and streams are answered until then. A second signal cuts the grace short.
        """
        log.info("draining", grace_s=self.settings.grace_s)
        self._draining.set()
        await self._worker.drain(self.settings.grace_s)
        self._close()

    async def stop(self) -> None:
        """Stop every part; what still runs is handed back."""
        self._close()
        await self._parts.aclose()
        log.info("stopped")

    def _close(self) -> None:
        self._draining.set()
        self._closing.set()
        self.engine.wakeups.wake_all()


def create_app() -> ASGIApp:
    """The whole server as an ASGI app, with settings from the environment and outlast.toml."""
    settings = load(os.environ)
    telemetry.set_up(settings.log_format)
    return _App(Server(settings))


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start and stop an app made by `create_app`, from the lifespan of the app it is mounted in."""
    if not isinstance(app, _App):
        raise ConfigError("outlast.app.lifespan takes an app made by outlast.app.create_app.")
    await app.server.start()
    try:
        with _signals_drain(app.server):
            yield
    finally:
        await app.server.stop()


class _App:
    """The ASGI callable: the API, and the lifespan around it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.server.api(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with lifespan(self):
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except OutlastError as error:
            await send({"type": f"lifespan.{phase}.failed", "message": error.detail})
        except Exception as error:
            log.error("lifespan broke", exc=error, phase=phase)
            await send({"type": f"lifespan.{phase}.failed", "message": repr(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def _signals_drain(server: Server) -> Iterator[None]:
    """Drain before whoever handled SIGTERM and SIGINT until now does; a second signal goes to them at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    async def drain(number: int, frame: FrameType | None) -> None:
        try:
            await server.drain()
        finally:
            _pass_on(before[signal.Signals(number)], number, frame)

    def begin(number: int, frame: FrameType | None) -> None:
        if tasks:
            tasks[0].cancel()
        else:
            tasks.append(loop.create_task(drain(number, frame)))

    for number in before:
        signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(begin, number, frame))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(handler: Handler, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


class _Uvicorn(uvicorn.Server):
    """uvicorn, but a drained server has ended well: it does not raise the signal once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings) -> int:
    """Run the server until it is told to stop; the exit code. Raises `ConfigError` before anything is started."""
    _refuse_open_door(settings)
    telemetry.set_up(settings.log_format)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        _App(Server(msgspec.structs.replace(settings, port=port))),
        http=HttpProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=STREAMS_END_S,
        timeout_keep_alive=75,
        server_header=False,
        proxy_headers=False,  # the clients' address of us is OUTLAST_PUBLIC_URL, not a header's word
    )
    log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    server = _Uvicorn(config)
    server.run(sockets=[listener])
    return 0 if server.started else EXIT_NOT_STARTED


def _listen(settings: Settings) -> socket.socket:
    """The server's socket, taken before anything is started, so that a port in use costs nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {settings.host} port {settings.port}: {os.strerror(error.errno or 0)}. Choose another "
            "with --port or OUTLAST_PORT, or stop what has it."
        ) from error


def _refuse_open_door(settings: Settings) -> None:
    if not settings.api_keys and not is_loopback(settings.host):
        raise ConfigError(
            f"OUTLAST_HOST is {settings.host}, which others can reach, and there are no keys. Set OUTLAST_API_KEYS to "
            "the keys that clients shall send, or listen on 127.0.0.1."
        )


def _with_model(settings: Settings) -> Settings:
    """Name the model that runs without one of their own ask for; none if there is none."""
    model = settings.model
    if model is None and settings.has_model:
        model = DEFAULT_MODEL
    if model is None and localmodel.available():
        model = localmodel.DEMO_ALIAS
    return msgspec.structs.replace(settings, model=model)


def _say_what_started(settings: Settings) -> None:
    for sentence in (*peer_leftovers(os.environ), *unknown_variables(os.environ)):
        log.warning(sentence)
    model = settings.model or "none; set OPENAI_API_KEY or OPENAI_BASE_URL, or run: outlast model pull demo"
    log.info("started", data_dir=str(settings.data_dir), model=model)
