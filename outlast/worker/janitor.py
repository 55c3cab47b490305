"""What has to happen again and again while a worker lives: renew the lease, end what is overdue, take up what was left.

It keeps one rule above all: an agent never works longer than the lease under which it was started.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection

from outlast import telemetry
from outlast.clock import Clock
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.worker import marks, processes
from outlast.worker.lease import Lease
from outlast.workers import WorkerCard

BEATS_PER_LEASE = 3
TRIES_PER_LEASE = 4
RETRY_S = 0.25
MARGIN_S = 2.0
"""So long before its lease ends, a worker that could not renew it stops its agents."""
RECOVER_S = 1.0
RECOVER_MIN_S = 0.02
"""Runs that are due at nearly the same time share a turn."""
GLANCE_S = 0.1
TICK_S = 1.0
AGAIN_S = 1.0
STRAYS_MAX = 200

log = telemetry.get("worker")


class Beater:
    """Renews the lease, and says so when it is held again, or no longer."""

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        clock: Clock,
        worker_id: Callable[[], str],
        card: Callable[[], WorkerCard],
        on_change: Callable[[bool], None],
    ) -> None:
        """`on_change` hears whether the lease is held; when it is not, the worker's id is of no use any more."""
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._worker_id = worker_id
        self._card = card
        self._on_change = on_change
        self._margin_s = min(MARGIN_S, lease.lease_s / 4)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            in_time = await self.beat()
            await asyncio.sleep(self._lease.lease_s / BEATS_PER_LEASE if in_time else RETRY_S)

    async def beat(self) -> bool:
        """Renew once; False if that did not succeed.

        A lease that ran out while this process stood still is lost before anybody is asked: the agents stop at once,
        whatever the store says and whether or not it answers.
        """
        if self._lease.has_run_out:
            self._lost("its time was up")
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._patience_s):
                is_ours = await self._engine.beat(self._worker_id(), self._lease.lease_s, self._card())
        except (StoreUnavailable, TimeoutError):
            if self._lease.has_run_out or (self._lease.is_held and self._lease.left_s <= self._margin_s):
                self._lost("it could not be renewed")
            return False
        if self._lease.has_run_out or not is_ours:
            self._lost("the store has given it up" if not is_ours else "the answer came too late")
            return False
        was_held = self._lease.is_held
        self._lease.renewed(asked_at)
        if not was_held:
            self._on_change(True)
        return True

    @property
    def _patience_s(self) -> float:
        """For one try: not all that is left, for its connection may be dead and the next one alive."""
        left_s = self._lease.left_s - self._margin_s
        return max(RETRY_S, min(left_s, self._lease.lease_s / TRIES_PER_LEASE))

    def _lost(self, why: str) -> None:
        log.error("the lease is lost; its runs go on elsewhere", why=why)
        self._lease.lost()
        self._on_change(False)


async def recover(engine: Engine, clock: Clock) -> None:
    """Requeue the runs of lost workers, and make ready what is due, at its time; for ever."""
    while True:
        try:
            await asyncio.sleep(await _pause_s(engine, clock))
            await engine.recover()
        except StoreUnavailable:
            await asyncio.sleep(RECOVER_S)  # its log has it; the next turn tries again


async def _pause_s(engine: Engine, clock: Clock) -> float:
    due_at = await engine.next_due_at()
    if due_at is None:
        return RECOVER_S
    return min(max((due_at - clock.now()) / 1000, RECOVER_MIN_S), RECOVER_S)


async def every(seconds: float, call: Callable[[], None]) -> None:
    """Call, for ever."""
    while True:
        await asyncio.sleep(seconds)
        call()


async def steadily(work: Callable[[], Awaitable[None]]) -> None:
    """Do this work until it returns. What it raises is a bug: it is logged, and the work goes on."""
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("a worker's loop broke", exc=error)
            await asyncio.sleep(AGAIN_S)


def end_strays(folder: str, known: Collection[int]) -> None:
    """Kill what was reparented to this process and bears our brand: its host or fork server died before it.

    Other parts of the worker may have children of their own; those bear no brand and are let be. Some at a time, for
    this is done on the event loop.
    """
    children = sorted(processes.children(os.getpid()) - set(known))[:STRAYS_MAX]
    strays = [pid for pid in children if marks.bears_brand(pid, folder)]
    if strays:
        log.warning("ending processes that have lost their parent", processes=len(strays))
        processes.end_families(strays)
        for pid in strays:
            processes.reap(pid)
