"""The worker beside a server: in a process of its own, so that nothing an agent does holds up the API.

The server starts it, tells it to drain, and starts another if it dies; it dies with the server, whatever happens. The
settings, keys among them, reach it over a socket; nothing of them is on a command line.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.config import Settings
from outlast.worker import environment, launch

log = telemetry.get("app")

PAUSES_S = (0.0, 0.5, 2.0, 5.0)
"""Before another is started, the longer the oftener one died young."""
YOUNG_S = 10.0
LAST_S = 5.0
"""How much longer than its grace periods a companion may take to end."""


class Charge(msgspec.Struct, frozen=True):
    """What a companion is told first."""

    settings: Settings
    guest: int | None
    """The descriptor of its store's socket, where the store has a single owner."""


_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
Admit = Callable[[], tuple[socket.socket, int]]


class Companion:
    """One companion after another, until `stop`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        admit: Admit | None,
        on_lost: Callable[[int], Awaitable[None]],
    ) -> None:
        """`admit` lets it into a store with a single owner; `on_lost` hears the pid of one that died unasked."""
        self._settings = settings
        self._clock = clock
        self._admit = admit
        self._on_lost = on_lost
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ended = asyncio.Event()
        self._ends = False
        self._deaths = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it, and keep one alive. Call it in the main thread: a child dies with its parent's thread."""
        self._launch()
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def drain(self) -> None:
        """Let it end its runs within the grace period, and hand the rest back."""
        self._tell_to_end()
        grace_s = self._settings.grace_s + self._settings.stop_grace_s + LAST_S
        await self._wait_for_end(grace_s)

    async def stop(self) -> None:
        """End it soon: what still runs is handed back."""
        self._tell_to_end()
        if not self._ended.is_set():
            self._signal(signal.SIGTERM)
        await self._wait_for_end(self._settings.stop_grace_s + LAST_S)
        if self._keeping is not None:
            await self._keeping

    async def _wait_for_end(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            log.error("the worker does not end; killing it", pid=self.pid)
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def _tell_to_end(self) -> None:
        if not self._ends:
            self._ends = True
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        try:
            await self._watch()
            while not self._ends:
                await asyncio.sleep(PAUSES_S[min(self._deaths, len(PAUSES_S)) - 1])
                await self._watch_another()
        finally:
            self._ended.set()

    async def _watch_another(self) -> None:
        if not self._ends:
            self._launch()
            await self._watch()

    async def _watch(self) -> None:
        """Until the companion is dead; what it held is free then."""
        assert self._process is not None
        began = self._clock.monotonic()
        process = self._process
        code = await asyncio.get_running_loop().run_in_executor(None, process.wait)
        if self._control is not None:
            self._control.close()
        self._process = None
        if not self._ends:
            log.error("the worker died; another takes over", pid=process.pid, code=code)
            self._deaths = self._deaths + 1 if self._clock.monotonic() - began < YOUNG_S else 1
            await self._on_lost(process.pid)

    def _launch(self) -> None:
        guest, lock = self._admit() if self._admit is not None else (None, None)
        self._control, theirs = socket.socketpair()
        kept = [fd for fd in (theirs.fileno(), guest.fileno() if guest else None, lock) if fd is not None]
        try:
            self._process = subprocess.Popen(
                launch.python("outlast.companion_main", str(theirs.fileno()), str(os.getpid())),
                pass_fds=kept,
                env=environment.bare(os.environ),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            theirs.close()
            charge = _encode(Charge(self._settings, guest.fileno() if guest else None))
            if guest is not None:
                guest.close()
        with suppress(OSError):  # dead already: whoever watches will see
            self._control.sendall(len(charge).to_bytes(4, "big") + charge)


def read_charge(control: socket.socket) -> Charge:
    """The other end: what we are to do. Raises `EOFError` if the server is gone."""
    size = int.from_bytes(_read(control, 4), "big")
    return msgspec.msgpack.decode(_read(control, size), type=Charge, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _read(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
