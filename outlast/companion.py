"""The worker beside a server: in a process of its own, so that nothing an agent does holds up the API.

The server starts it, tells it to drain, and starts another if it dies or stands still; it dies with the server,
whatever happens.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

from outlast import telemetry
from outlast.clock import Clock, random_id
from outlast.config import Settings
from outlast.draining import AT_ONCE
from outlast.handover import Handover, Signs, hand_over
from outlast.worker import environment, launch

log = telemetry.get("app")

PAUSES_S = (0.0, 0.5, 2.0, 5.0)
"""Before another is started, the longer the oftener one died young."""
YOUNG_S = 10.0
LAST_S = 5.0
"""How much longer than its grace periods a companion may take to end."""

Admit = Callable[[], tuple[socket.socket, int]]


class Companion:
    """One companion after another, until `stop`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        admit: Admit | None,
        on_lost: Callable[[str], Awaitable[None]],
    ) -> None:
        """`admit` lets it into a store with a single owner; `on_lost` hears the name of one that did not end well."""
        self._settings = settings
        self._clock = clock
        self._admit = admit
        self._on_lost = on_lost
        self._process: subprocess.Popen[bytes] | None = None
        self._to_end = asyncio.Event()
        self._ended = asyncio.Event()
        self._deaths = 0
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep one alive from now on. Call it in the main thread: a child dies with its parent's thread."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def drain(self) -> None:
        """Let it end its runs within the grace period, and hand the rest back."""
        if not self._to_end.is_set():
            self._to_end.set()
            self._signal(signal.SIGTERM)
        await self._wait_for_end(self._settings.grace_s + self._settings.stop_grace_s + LAST_S)

    async def stop(self) -> None:
        """End it soon, also in the middle of a drain: what still runs is handed back."""
        self._to_end.set()
        self._signal(AT_ONCE)
        await self._wait_for_end(self._settings.stop_grace_s + LAST_S)

    async def _wait_for_end(self, timeout_s: float) -> None:
        if self._keeping is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            log.error("the worker does not end; killing it", pid=self._process.pid if self._process else None)
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        try:
            while not self._to_end.is_set():
                began = self._clock.monotonic()
                await self._have_one()
                self._deaths = self._deaths + 1 if self._clock.monotonic() - began < YOUNG_S else 1
                await self._pause()
        finally:
            self._ended.set()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSES_S[min(self._deaths, len(PAUSES_S)) - 1]):
                await self._to_end.wait()

    async def _have_one(self) -> None:
        """Start one, and watch over it until it is dead and what it held is free."""
        try:
            instance = random_id("ins")
            self._process, control = self._launch(instance)
        except OSError as error:
            log.error("the worker cannot be started; it is tried again", exc=error)
            return
        pid, code = self._process.pid, await self._watch(self._process, control)
        self._process = None
        if not self._to_end.is_set():
            log.error("the worker died; another takes over", pid=pid, code=code)
        if code != 0:
            await self._give_up(instance)

    async def _watch(self, process: subprocess.Popen[bytes], control: socket.socket) -> int:
        """Its exit code. One that stands still is killed: it may hold what others wait for, and stops no agent."""
        signs = Signs(control, self._clock, self._settings.lease_s)
        still = asyncio.ensure_future(signs.until_still())
        dead = asyncio.get_running_loop().run_in_executor(None, process.wait)
        try:
            await asyncio.wait((still, dead), return_when=asyncio.FIRST_COMPLETED)
            if not dead.done():
                log.error("the worker stands still; ending it", pid=process.pid)
                process.kill()
            return await dead
        finally:
            still.cancel()
            signs.close()

    async def _give_up(self, instance: str) -> None:
        try:
            await self._on_lost(instance)
        except Exception as error:  # its lease ends by itself; another companion is needed all the same
            log.error("the lease of a dead worker could not be ended", exc=error)

    def _launch(self, instance: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start one and hand over; it, and our end of the line to it."""
        with ExitStack() as theirs, ExitStack() as ours:
            control, end = socket.socketpair()
            ours.enter_context(control)
            theirs.enter_context(end)
            guest, kept = None, [end.fileno()]
            if self._admit is not None:
                guest, lock = self._admit()
                theirs.enter_context(guest)
                kept += [guest.fileno(), lock]
            process = subprocess.Popen(
                launch.python("outlast.companion_main", str(end.fileno()), str(os.getpid())),
                pass_fds=kept,
                env=environment.bare(os.environ),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            hand_over(control, Handover(self._settings, guest.fileno() if guest else None, instance))
            ours.pop_all()
        return process, control
