"""Puts the parts of one process together: store, engine, API, worker with its gateway, webhook deliverer.

Which of them a process has is its role. With SQLite, one process has all; on PostgreSQL there are as many servers
(API) and workers as one likes, and they find each other through the database.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from outlast import localmodel, telemetry
from outlast.api import create_api
from outlast.api.intake import Intake
from outlast.clock import Clock, SystemClock
from outlast.config import DEFAULT_MODEL, Settings, peer_leftovers, unknown_variables
from outlast.engine import Engine
from outlast.errors import ConfigError, StoreUnavailable
from outlast.gateway import Gateway
from outlast.runners.registry import Registry
from outlast.scheduler import Scheduler
from outlast.store.choose import store_of
from outlast.store.lanes import Limits
from outlast.webhooks.address import check_url
from outlast.webhooks.deliver import Deliverer
from outlast.worker import janitor
from outlast.worker.loop import Worker
from outlast.worker.seat import Seat

log = telemetry.get("app")

SWITCH_INTERVAL_S = 0.001
"""How long a busy event loop may keep the store's writer thread from its next statement (CPython: 5 ms)."""
WORKERS_S = 2.0
"""How often a server looks who works."""
GC_THRESHOLDS = (25_000, 20, 100)
"""New objects between looks for garbage (CPython: 700): a run is hundreds of objects, hardly any in a cycle."""


class Server:
    """Everything one process runs. Start and stop it on one event loop, once."""

    def __init__(self, settings: Settings, clock: Clock | None = None, *, works: bool = True) -> None:
        """Without `works` it accepts and shows runs, and leaves them to workers in other processes."""
        if not works and settings.database_url is None:
            raise ConfigError(_ALONE)
        clock = clock or SystemClock()
        self.settings = _with_model(settings)
        self._clock = clock
        self._works = works
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()
        self._parts = AsyncExitStack()
        self._worker: Worker | None = None
        self._others_have_model = False
        self._store = store_of(settings, clock)
        self.engine = Engine(self._store, clock, Limits.of(self.settings))
        self._registry = Registry(self.settings)
        self._deliverer = Deliverer(self.engine, self.settings, clock)
        self._scheduler = Scheduler(self.engine, self._intake().of_schedule)
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

    def _intake(self) -> Intake:
        """For the runs that schedules make."""
        return Intake(
            registry=self._registry,
            settings=self.settings,
            has_model=self.has_model,
            check_webhook=lambda url: check_url(url, self.settings),
        )

    def _bound(self) -> tuple[str, int]:
        return self.settings.host, self.settings.port

    def has_model(self) -> bool:
        """Whether a run that needs a model can have one, here or at another worker."""
        return self.settings.model is not None or self._others_have_model

    async def start(self) -> None:
        """Start every part, each after what it needs; if one fails, those before it are stopped again."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.set_threshold(*GC_THRESHOLDS)
        async with AsyncExitStack() as parts:
            await self._store.open()
            parts.push_async_callback(self._store.close)
            delivering = asyncio.create_task(self._deliverer.run())
            parts.push_async_callback(self._end_deliveries, delivering)
            if self._works:
                await self._start_worker(parts)
            if self.settings.database_url is not None:
                self._begin(parts, self._watch_workers)
            if not self._works:
                self._begin(parts, partial(janitor.recover, self.engine, self._clock))
            self._begin(parts, self._scheduler.run)
            parts.push_async_callback(self._scheduler.stop)
            self._parts = parts.pop_all()
        gc.freeze()  # what is there now stays
        _say_what_started(self.settings)

    def _begin(self, parts: AsyncExitStack, loop: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(janitor.steadily(loop))
        parts.callback(task.cancel)

    async def _start_worker(self, parts: AsyncExitStack) -> None:
        local = localmodel.LocalModel()
        parts.push_async_callback(local.stop)
        gateway = Gateway(self.engine, self.settings, self._clock, local_model=local.start)
        await gateway.start()
        parts.push_async_callback(gateway.stop)
        worker = Worker(
            self.engine, self.settings, self._registry.runners, gateway, self._clock, self._seat(parts)
        )
        await worker.start()
        parts.push_async_callback(worker.drain, 0)
        self._worker = worker

    def _seat(self, parts: AsyncExitStack) -> Path:
        """The folder by which the worker's processes are known: the store's own, if that has one owner."""
        if self.settings.database_url is None:
            return self.settings.data_dir
        seat = Seat(self.settings.data_dir)
        parts.callback(seat.leave)
        return seat.folder

    async def _end_deliveries(self, delivering: asyncio.Task[None]) -> None:
        await self._deliverer.stop()
        await delivering

    async def _watch_workers(self) -> None:
        """Know whether some worker has a model; for ever."""
        while True:
            try:
                seen = await self.engine.workers()
            except StoreUnavailable:
                pass  # what was true a moment ago is the best guess
            else:
                self._others_have_model = any(worker.is_live and worker.card.has_model for worker in seen)
            await asyncio.sleep(WORKERS_S)

    async def drain(self) -> None:
        """Claim and accept nothing more, let runs finish within the grace period, hand the rest back, end open streams.

        Polls and streams are answered until then. A second signal cuts the grace short.
        """
        log.info("draining", grace_s=self.settings.grace_s)
        self._draining.set()
        await self._scheduler.stop()
        if self._worker is not None:
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


_ALONE = (
    "A server without a worker needs a PostgreSQL that it shares with workers: set OUTLAST_DATABASE_URL. Without one, "
    "`outlast serve` is server and worker in one."
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
    log.info("started", runs_in=_place(settings), model=model)


def _place(settings: Settings) -> str:
    """Where runs are kept, without a password."""
    if settings.database_url is None:
        return str(settings.data_dir)
    parts = urlsplit(settings.database_url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
