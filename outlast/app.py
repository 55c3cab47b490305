"""Runs a server in this process: as an ASGI app, under `outlast serve`, or as `outlast worker` without an API.

`create_app` is the ASGI factory (`python -m uvicorn outlast.app:create_app --port 8005 --factory`); `serve` is the
same under `outlast serve`. To mount the app in another, run its `lifespan` in yours: a mount runs none by itself.
"""

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import telemetry
from outlast.api.auth import is_loopback
from outlast.api.protocol import HttpProtocol
from outlast.clock import SystemClock
from outlast.config import Settings, load
from outlast.draining import signals_drain
from outlast.errors import ConfigError, OutlastError
from outlast.server import Server
from outlast.store.choose import store_of
from outlast.worker import processes
from outlast.workplace import carry_out

log = telemetry.get("app")

EXIT_NOT_STARTED = 1
STREAMS_END_S = 5
"""How long open requests may take to end once the server stops listening."""


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
        with signals_drain(app.server):
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


def serve(settings: Settings, *, works: bool = True) -> int:
    """Run the server until it is told to stop; the exit code. Raises `ConfigError` before anything is started.

    Without `works`, runs are left to workers in other processes.
    """
    processes.close_to_peers()
    _refuse_open_door(settings)
    telemetry.set_up(settings.log_format)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        _App(Server(msgspec.structs.replace(settings, port=port), works=works)),
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


def work(settings: Settings) -> int:
    """Run a worker without an API until it is told to stop; the exit code."""
    if settings.database_url is None:
        raise ConfigError(
            "A worker of its own needs a PostgreSQL that it shares with the servers: set OUTLAST_DATABASE_URL. Without "
            "one, `outlast serve` is server and worker in one."
        )
    processes.close_to_peers()
    telemetry.set_up(settings.log_format)
    carry_out(settings, store_of(settings, SystemClock()))
    return 0


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
