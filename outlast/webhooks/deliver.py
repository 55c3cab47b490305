"""The deliverer: takes due notices out of the outbox, posts them, and tries again by the schedule.

At least once: a notice leaves the outbox only after a receiver answered 2xx, or after the last word (given up, with a
log line). A process that dies between the answer and its record delivers again, under the same `webhook-id`. It holds
no run's slot, and a receiver that hangs delays only its own notices. It must never change a run.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection

from ssrfguard import Resolver

from outlast import telemetry
from outlast.clock import Clock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import RunNotFound, StoreUnavailable
from outlast.store.protocol import Delivery
from outlast.webhooks.address import GuardedTransport, rules
from outlast.webhooks.attempt import Message, Outcome, Verdict, body_of, send
from outlast.webhooks.sign import key_of

IN_FLIGHT_MAX = 256
RECEIVER_MAX = 8
"""With this many in flight, no more are taken for a receiver until one has ended."""
LARGE = 1024 * 1024
LARGE_MAX = 8
"""Bodies of `LARGE` bytes or more in memory at once."""
TRY_S = 10.0
"""One try, from the name's look-up to the answer's status line."""
LAST_S = 5.0
"""What a stop lets tries in flight have."""
LOOK_S = 30.0
"""The outbox is looked at this often without being told: another process may have written to it."""
STORE_PAUSE_S = 1.0
RETRY_AFTER_MAX_S = 3600.0
JITTER = 0.2

log = telemetry.get("webhooks")


class Deliverer:
    """Run it as a task beside the server, and `stop` it before the store closes.

    `ConfigError` at once if the webhook settings are wrong. `resolver` stands in for the name servers in tests.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        clock: Clock,
        *,
        resolver: Resolver | None = None,
        try_s: float = TRY_S,
        last_s: float = LAST_S,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._resolver = resolver
        self._try_s = try_s
        self._last_s = last_s
        self._allow = settings.webhook_allow
        self._schedule = settings.webhook_retry
        self._key = key_of(settings.webhook_secret) if settings.webhook_secret else None
        if self._allow:
            rules(self._allow)
        self._transport: GuardedTransport | None = None
        self._large = asyncio.Semaphore(LARGE_MAX)
        self._in_flight: dict[asyncio.Task[None], Delivery] = {}
        self._stopping = False
        self._is_away = False
        """The store was out of reach when it was last asked; said once."""
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Deliver until `stop`. Takes up what an earlier process left; outlives a store that is away."""
        self._ended.clear()
        try:
            while not self._stopping:
                await self._engine.wakeups.outbox.wait(await self._start_due())
            await self._let_finish()
        finally:
            await _cut(list(self._in_flight))
            if self._transport is not None:
                await self._transport.aclose()
            self._ended.set()

    async def stop(self) -> None:
        """Take no more, let tries in flight finish for a moment, put the rest back to be tried again at once."""
        self._stopping = True
        self._engine.wakeups.outbox.ring()
        await self._ended.wait()

    async def _start_due(self) -> float:
        """Start what is due and may start; how many seconds to wait before looking again."""
        try:
            pause_s = await self._start_some()
            self._is_away = False
            return pause_s
        except StoreUnavailable as error:
            if not self._is_away:
                log.warning("outbox out of reach", error=error.detail)
            self._is_away = True
            return STORE_PAUSE_S
        except Exception as error:
            log.error("webhooks wait; the outbox keeps them", exc=error)
            return LOOK_S

    async def _start_some(self) -> float:
        per_receiver = Counter(delivery.notice.receiver for delivery in self._in_flight.values())
        busy = [receiver for receiver, n in per_receiver.items() if n >= RECEIVER_MAX]
        room = IN_FLIGHT_MAX - len(self._in_flight)
        due_at = await self._engine.outbox.next_at(busy) if room else None
        if due_at is None:
            return LOOK_S
        wait_s = (due_at - self._clock.now()) / 1000
        if wait_s > 0:
            return min(wait_s, LOOK_S)
        if self._transport is None:
            self._transport = await asyncio.to_thread(self._new_transport)
        taken = await self._engine.outbox.take(room, busy)
        for delivery in taken:
            self._start(delivery)
        return 0 if taken else STORE_PAUSE_S

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery))
        self._in_flight[task] = delivery
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        self._engine.wakeups.outbox.ring()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = await self._try(delivery)
        except Exception as error:
            log.error("delivery broke", exc=error, run_id=delivery.notice.run_id)
            outcome = Outcome(Verdict.AGAIN, "a bug; its traceback stands in the log above")
        retry_at = self._retry_at(delivery, outcome)
        try:
            await self._engine.outbox.settle(delivery.notice.id, retry_at=retry_at)
        except StoreUnavailable as error:
            log.warning("delivery not recorded; it is repeated within a minute", error=error.detail)
        self._tell(delivery, outcome, retry_at)

    async def _try(self, delivery: Delivery) -> Outcome:
        result = delivery.notice.result
        if result is None or result.size < LARGE:
            return await self._post(delivery)
        async with self._large:
            return await self._post(delivery)

    async def _post(self, delivery: Delivery) -> Outcome:
        notice = delivery.notice
        try:
            result = await self._engine.bodies.read(notice.tenant, notice.result) if notice.result else None
        except RunNotFound as error:
            return Outcome(Verdict.NEVER, error.detail)
        except StoreUnavailable as error:
            return Outcome(Verdict.AGAIN, error.detail)
        message = Message(notice, delivery.tries + 1, body_of(notice.head, result))
        assert self._transport is not None
        return await send(self._transport, message, self._key, self._clock, self._try_s)

    def _new_transport(self) -> GuardedTransport:
        """Made for the first delivery, off the loop: reading certificates takes 50 ms and 6 MB."""
        return GuardedTransport(self._allow, connections=IN_FLIGHT_MAX, resolver=self._resolver)

    def _retry_at(self, delivery: Delivery, outcome: Outcome) -> int | None:
        """When to try again; null when it is delivered or given up."""
        if outcome.verdict is not Verdict.AGAIN or delivery.tries >= len(self._schedule):
            return None
        pause_s = self._schedule[delivery.tries] * random.uniform(1, 1 + JITTER)
        asked_s = min(outcome.pause_s, RETRY_AFTER_MAX_S)
        return self._clock.now() + round(max(pause_s, asked_s) * 1000)

    def _tell(self, delivery: Delivery, outcome: Outcome, retry_at: int | None) -> None:
        """One line for what happened; the URL stays out of it, since its path may be a secret."""
        notice, attempt = delivery.notice, delivery.tries + 1
        if outcome.verdict is Verdict.DELIVERED:
            log.info("webhook delivered", run_id=notice.run_id, receiver=notice.receiver, attempt=attempt)
            return
        log.warning(
            "webhook given up" if retry_at is None else "webhook not delivered",
            run_id=notice.run_id,
            receiver=notice.receiver,
            attempt=attempt,
            reason=outcome.reason,
            retry_in_s=None if retry_at is None else (retry_at - self._clock.now()) / 1000,
        )

    async def _let_finish(self) -> None:
        if not self._in_flight:
            return
        _, late = await asyncio.wait(list(self._in_flight), timeout=self._last_s)
        put_back = [self._in_flight[task].notice.id for task in late]
        await _cut(late)
        try:
            for notice_id in put_back:
                await self._engine.outbox.settle(notice_id, retry_at=self._clock.now())
        except StoreUnavailable:
            pass  # their claims run out within a minute


async def _cut(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
