"""A worker and what it needs around it, in one process: store, engine, model gateway.

It runs beside a server as its companion, or as `outlast worker` on a machine of its own.
"""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from outlast import interpreter, localmodel, providers, telemetry
from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.draining import AT_ONCE, signals_drain
from outlast.engine import Engine
from outlast.gateway import Gateway
from outlast.runners.protocol import Runner, Terminal
from outlast.runners.registry import BUILT_IN
from outlast.store.lanes import Limits
from outlast.store.protocol import Store
from outlast.worker.loop import Worker
from outlast.worker.seat import Seat

log = telemetry.get("worker")

Beside = Callable[[], Coroutine[None, None, None]]


class Workplace:
    """Start and stop it on one event loop, once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        instance: str = "",
        *,
        runners: Sequence[Runner] = BUILT_IN,
        terminal: Terminal | None = None,
    ) -> None:
        """`instance` is the name by which its server, if it has one, knows this worker.

        `terminal` is what programs of `outlast exec` read and write.
        """
        providers.require_keys(settings.upstreams)
        self._instance = instance
        self._runners = runners
        self._terminal = terminal
        self._settings = localmodel.with_model(settings)
        self._clock = SystemClock()
        self._store = store
        self.engine = Engine(store, self._clock, Limits.of(self._settings))
        self._parts = AsyncExitStack()
        self._worker: Worker | None = None

    async def start(self) -> None:
        """Start every part, each after what it needs; if one fails, those before it are stopped again."""
        interpreter.tune()
        async with AsyncExitStack() as parts:
            await self._store.open()
            parts.push_async_callback(self._store.close)
            local = localmodel.LocalModel()
            parts.push_async_callback(local.stop)
            gateway = Gateway(self.engine, self._settings, self._clock, local_model=local.start)
            await gateway.start()
            parts.push_async_callback(gateway.stop)
            self._worker = await self._start_worker(gateway, parts)
            self._parts = parts.pop_all()
        gc.freeze()  # what is there now stays
        log.info(
            "worker started",
            name=self._settings.worker_name,
            queues=",".join(self._settings.queues) or "all",
            model=self._settings.model or "none",
        )

    async def _start_worker(self, gateway: Gateway, parts: AsyncExitStack) -> Worker:
        worker = Worker(
            self.engine,
            self._settings,
            {runner.name: runner for runner in self._runners},
            gateway,
            self._clock,
            self._home(parts),
            instance=self._instance,
            terminal=self._terminal,
        )
        await worker.start()
        parts.push_async_callback(worker.drain, 0)
        return worker

    def _home(self, parts: AsyncExitStack) -> Path:
        """The folder by which the worker's processes are known: the store's own, if that has one owner."""
        if self._settings.database_url is None:
            return self._settings.data_dir
        seat = Seat(self._settings.data_dir)
        parts.callback(seat.leave)
        return seat.folder

    async def drain(self) -> None:
        """Claim nothing more, let runs finish within the grace period, hand the rest back."""
        log.info("draining", grace_s=self._settings.grace_s)
        if self._worker is not None:
            await self._worker.drain(self._settings.grace_s)

    async def stop(self) -> None:
        """Stop every part; what still runs is handed back."""
        await self._parts.aclose()
        log.info("worker stopped")


async def _nothing() -> None:
    pass


def carry_out(settings: Settings, store: Store, beside: Beside = _nothing, instance: str = "") -> None:
    """Be a worker until told to stop by SIGTERM or SIGINT, which drain; a second one, or AT_ONCE, cuts that short.

    `beside` is done on its event loop, from the first moment to the last.
    """
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(_until_drained(Workplace(settings, store, instance), beside))


async def _until_drained(workplace: Workplace, beside: Beside) -> None:
    drained = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, AT_ONCE):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(drained.set))
    going = loop.create_task(beside())
    await workplace.start()
    try:
        with signals_drain(workplace, at_once=(AT_ONCE,)):
            await drained.wait()
    finally:
        await workplace.stop()
        going.cancel()
