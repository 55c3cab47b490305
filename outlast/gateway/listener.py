"""An ASGI application on a loopback port of its own, in the running loop: uvicorn's HTTP without uvicorn's server.

The server around it would install signal handlers and a ticking loop, of which the process already has one.
"""

import asyncio
import logging
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_KEEP_ALIVE_S = 120
"""Longer than the clients of agents keep an idle connection, so that the client is the one who closes it."""
_BACKLOG = 1024

# A stream that is cut on purpose is an error to uvicorn. What goes wrong inside the application, it logs itself.
_SILENT = logging.getLogger("outlast.gateway.http")
_SILENT.disabled = True


class _Http(HttpToolsProtocol):
    def __init__(self, config: uvicorn.Config, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, {}, loop)
        self.logger = _SILENT
        self.access_log = False


class Listener:
    """Where agents connect to."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = uvicorn.Config(
            app,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1 and say which."""
        loop = asyncio.get_running_loop()
        sock = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._config.load()
        self._server = await loop.create_server(
            lambda: _Http(self._config, self._state, loop), sock=sock, backlog=_BACKLOG
        )
        port: int = sock.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Take no more connections and end those there are; an answer being given ends where it is."""
        if self._server is None:
            return
        self._server.close()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An agent that does not read would hold an orderly close for as long as it lives.
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        await self._server.wait_closed()
