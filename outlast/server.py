"""A server: store, engine, API and webhook deliverer in this process, a worker in another beside it.

On PostgreSQL there are as many servers and workers as one likes, and they find each other through the database; a
server can then do without a worker of its own.
"""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

from outlast import interpreter, localmodel, providers, telemetry
from outlast.api import create_api
from outlast.api.intake import Intake
from outlast.clock import Clock, SystemClock
from outlast.companion import Companion
from outlast.config import Settings, peer_leftovers, unknown_variables
from outlast.engine import Engine
from outlast.errors import ConfigError, StoreUnavailable
from outlast.runners.registry import Registry
from outlast.scheduler import Scheduler
from outlast.store.choose import store_of
from outlast.store.lanes import Limits
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from outlast.webhooks.address import check_url
from outlast.webhooks.deliver import Deliverer
from outlast.worker import janitor

log = telemetry.get("app")

WORKERS_S = 2.0
"""How often a server looks who works."""


class Server:
    """Everything one process runs. Start and stop it on one event loop, once."""

    def __init__(self, settings: Settings, clock: Clock | None = None, *, works: bool = True) -> None:
        """Without `works` it accepts and shows runs, and leaves them to workers in other processes."""
        if not works and settings.database_url is None:
            raise ConfigError(_ALONE)
        if works:
            providers.require_keys(settings.upstreams)
        clock = clock or SystemClock()
        self.settings = localmodel.with_model(settings)
        self._clock = clock
        self._draining = asyncio.Event()
        self._closing = asyncio.Event()
        self._parts = AsyncExitStack()
        self._others_have_model = False
        self._store = store_of(settings, clock)
        self.engine = Engine(self._store, clock, Limits.of(self.settings))
        self._companion = self._companion_of(self._store) if works else None
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
        interpreter.tune()
        async with AsyncExitStack() as parts:
            await self._store.open()
            parts.push_async_callback(self._store.close)
            delivering = asyncio.create_task(self._deliverer.run())
            parts.push_async_callback(self._end_deliveries, delivering)
            if self._companion is not None:
                parts.push_async_callback(self._companion.stop)
                self._companion.start()
            else:
                self._begin(parts, partial(janitor.recover, self.engine, self._clock))
            if self.settings.database_url is not None:
                self._begin(parts, self._watch_workers)
            self._begin(parts, self._scheduler.run)
            parts.push_async_callback(self._scheduler.stop)
            self._parts = parts.pop_all()
        gc.freeze()  # what is there now stays
        _say_what_started(self.settings)

    def _begin(self, parts: AsyncExitStack, loop: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(janitor.steadily(loop))
        parts.callback(task.cancel)

    def _companion_of(self, store: Store) -> Companion:
        admit = store.admit if isinstance(store, SqliteStore) else None
        return Companion(self.settings, self._clock, admit, self._take_up)

    async def _take_up(self, instance: str) -> None:
        """Our worker is dead: end its lease, so that its runs need not wait for that."""
        try:
            for worker in await self.engine.workers():
                if worker.is_live and worker.card.instance == instance:
                    await self.engine.beat(worker.id, -1.0, worker.card)
        except StoreUnavailable:
            pass  # then the lease ends by itself

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
        if self._companion is not None:
            await self._companion.drain()
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


def _say_what_started(settings: Settings) -> None:
    for sentence in (*peer_leftovers(os.environ), *unknown_variables(os.environ)):
        log.warning(sentence)
    model = settings.model or "none; set OPENAI_API_KEY or OPENAI_BASE_URL, or run: outlast model pull demo"
    named = [f"{name} at {upstream.place}" for name, upstream in settings.upstreams.items()]
    log.info("started", runs_in=_place(settings), model=model, upstreams=", ".join(named) or None)


def _place(settings: Settings) -> str:
    """Where runs are kept, without a password."""
    if settings.database_url is None:
        return str(settings.data_dir)
    parts = urlsplit(settings.database_url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
