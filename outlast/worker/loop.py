"""The worker: takes runs off the queue as places are free, has them carried, and goes away without a trace.

It shares the event loop with the gateway, so nothing here blocks, and it runs no agent code. All it knows is in memory;
if it dies, the lease ends and its runs are taken up again.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from outlast import __version__, telemetry
from outlast.clock import Clock, random_id
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.runners.protocol import Runner, Start, Terminal
from outlast.runs import Isolation, Run
from outlast.store.protocol import Claimed, Offer
from outlast.transitions import Cause
from outlast.wakeups import Bell
from outlast.worker import janitor, marks, processes, scratch
from outlast.worker.access import ModelAccess
from outlast.worker.attempt import Attempt, Desk
from outlast.worker.forkserver import ALWAYS
from outlast.worker.hosts import Hosts
from outlast.worker.isolated import Isolated
from outlast.worker.janitor import Beater
from outlast.worker.lease import Lease
from outlast.worker.logs import LINES_PER_S
from outlast.workers import WorkerCard

POLL_S = 5.0
"""The queue is looked at so often even if no bell rings."""
AWAY_S = 0.5
LAST_S = 1.0
SOLO_AT_ONCE = 16
"""Runs of the shared kind that work alone at one time; others wait, for each costs a process."""
CLAIM_MAX = 500
"""Runs taken in one claim: so many are started in one turn of the loop."""

log = telemetry.get("worker")


class _Needs(msgspec.Struct, frozen=True):
    """The part of a `RunRequest` that concerns the worker."""

    model: str | None = None
    mcp: tuple[str, ...] = ()


class Worker:
    """One worker. Make it with an engine on an open store, `start` it, `drain` it."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        runners: Mapping[str, Runner],
        access: ModelAccess,
        clock: Clock,
        home: Path,
        instance: str = "",
        terminal: Terminal | None = None,
    ) -> None:
        """`home` is a folder of this worker alone: its processes are known by it, and ended by its next owner.

        `terminal` is what the programs of `outlast exec` read and write.
        """
        self.id = random_id("wrk")
        """Another one after the lease was lost: that name is burnt."""
        self.attempts: dict[str, Attempt] = {}
        self._engine = engine
        self._settings = settings
        self._home = home
        self._instance = instance
        self._terminal = terminal
        self._runners = runners
        self._access = access
        self._clock = clock
        self._queues = frozenset(settings.queues) or None
        self._agent_root = str(settings.agent_root.resolve())
        self._lease = Lease(clock, settings.lease_s)
        self._beater = Beater(engine, self._lease, clock, lambda: self.id, self._card, self._lease_changed)
        self._desk = Desk(
            engine, access, self._lease, clock, stop_grace_s=settings.stop_grace_s, on_over=self._over
        )
        self._bells = {kind: Bell() for kind in Isolation}
        self._limits = {
            Isolation.SHARED: settings.shared_concurrency,
            Isolation.ISOLATED: settings.concurrency,
        }
        self._busy = dict.fromkeys(Isolation, 0)
        self._solo: set[str] = set()
        self._solo_waiting: deque[tuple[Attempt, Start]] = deque()
        self._idle = Bell()
        self._claims: list[asyncio.Task[None]] = []
        self._loops: list[asyncio.Task[None]] = []
        self._is_draining = False

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    @property
    def helpers(self) -> set[int]:
        """The processes that carry attempts, or make those that do: hosts and fork server."""
        return self._hosts.pids | self._isolated.pids

    @property
    def is_warm(self) -> bool:
        """Whether an isolated attempt finds imported what it may need."""
        return self._isolated.is_warm

    def busy(self, kind: Isolation) -> int:
        """How many places of this kind are taken."""
        return self._busy[kind]

    async def start(self) -> None:
        """Tidy up after a server that was here before, take its runs back, and begin to claim.

        Its agents are dead before their runs are requeued, so no zombie works beside its successor.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        self.folder = marks.folder_id(self._home)
        swept = await asyncio.to_thread(processes.sweep, self.folder)
        if swept:
            log.warning("ended processes of a server that was killed", processes=swept)
        self._scratch = await asyncio.to_thread(scratch.make, self.folder)
        processes.adopt_orphans()
        preload = _preload(self._runners)
        self._hosts = Hosts(self._settings.shared_hosts, self.folder, preload, self._ring)
        self._isolated = Isolated(
            self.folder,
            self._settings.memory_limit_mb,
            self._scratch,
            preload,
            lambda: self._hosts.pids,
            self._ring,
            self._terminal,
        )
        self._hosts.start()
        self._isolated.start()
        await self._beater.beat()
        with suppress(StoreUnavailable):  # it is tried again soon
            await self._engine.recover()
        self._claims = [self._loop_of(partial(self._claim_until_drained, kind)) for kind in Isolation]
        self._loops = [
            self._loop_of(self._beater.run),
            self._loop_of(partial(janitor.recover, self._engine, self._clock)),
            self._loop_of(partial(janitor.every, janitor.GLANCE_S, self._end_overdue)),
            self._loop_of(partial(janitor.every, janitor.TICK_S, self._tick)),
            self._loop_of(self._pass_on_bell),
            self._loop_of(self._check_held),
        ]

    def _loop_of(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(janitor.steadily(work))

    async def drain(self, grace_s: float) -> None:
        """Claim no more, let runs finish for `grace_s`, hand the rest back, and leave no process behind.

        In the second half no model call begins: a run that wants one is handed back, so that no answer that is paid for
        is cut off halfway if it can come in time.
        """
        self._is_draining = True
        self._ring()
        await asyncio.wait(self._claims)
        await self._until_idle(grace_s / 2)
        for attempt in list(self.attempts.values()):
            self._desk.spawn(attempt.leave())
        await self._until_idle(grace_s / 2)
        left = list(self.attempts.values())
        if left:
            log.info("handing runs back", runs=len(left))
            for attempt in left:
                self._desk.spawn(attempt.hand_back())
            await self._until_idle(self._settings.stop_grace_s + LAST_S)
        await asyncio.gather(self._hosts.close(), self._isolated.close())
        if self._desk.tasks:
            await asyncio.wait(self._desk.tasks, timeout=LAST_S)
        await asyncio.to_thread(scratch.remove, self._scratch)
        await self._end_loops()
        processes.leave_orphans()
        try:
            await self._engine.retire(self.id)
        except StoreUnavailable:
            pass  # the lease ends by itself

    async def _until_idle(self, timeout_s: float) -> None:
        deadline = self._clock.monotonic() + timeout_s
        while self.attempts and await self._idle.wait(max(0, deadline - self._clock.monotonic())):
            pass

    async def _end_loops(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    # Taking runs.

    async def _pass_on_bell(self) -> None:
        while True:
            await self._engine.wakeups.work.wait(POLL_S)
            self._ring()

    def _ring(self) -> None:
        for bell in self._bells.values():
            bell.ring()

    async def _claim_until_drained(self, kind: Isolation) -> None:
        while not self._is_draining:
            if not await self._claim(kind):
                await self._bells[kind].wait()

    async def _claim(self, kind: Isolation) -> bool:
        """Take what there is a place for; True if there may be more at once."""
        limit = min(CLAIM_MAX, self._free(kind))
        if limit <= 0 or self._is_draining or not self._lease.is_held:
            return False
        worker_id = self.id
        try:
            claimed = await self._engine.claim(
                Offer(worker_id, kind, frozenset(self._runners), limit, self._queues)
            )
        except StoreUnavailable:
            await asyncio.sleep(AWAY_S)
            return True
        if self.id != worker_id or not self._lease.is_held:
            return self._lease.is_held  # what was claimed under the lease that is over goes on elsewhere
        if sum(self._begin(run) for run in claimed) < len(claimed):
            await asyncio.sleep(AWAY_S)
        return len(claimed) == limit

    def _free(self, kind: Isolation) -> int:
        """Places for runs of this kind: none before they would start at once, for their time runs from the claim."""
        place = self._isolated if kind is Isolation.ISOLATED else self._hosts
        return self._limits[kind] - self._busy[kind] if place.is_ready else 0

    def _begin(self, claimed: Claimed) -> bool:
        """Start an attempt; False if this machine has nothing left to start it with."""
        run = claimed.run
        runner = self._runners[run.runner]
        alone = run.kind is Isolation.ISOLATED
        attempt = Attempt(
            run,
            self._desk,
            has_model=alone or runner.needs_model,
            lines_per_s=LINES_PER_S if alone else 2 * LINES_PER_S,
        )
        self.attempts[attempt.id] = attempt
        self._busy[run.kind] += 1
        try:
            self._carry(attempt, self._start_frame(attempt, claimed.request, runner))
        except Exception as error:
            self._not_started(attempt, error)
            return False
        attempt.guard()
        attempt.recall_log()
        return True

    def _not_started(self, attempt: Attempt, error: Exception) -> None:
        """The run goes back to the queue; the others of its claim must not suffer for it."""
        log.error("an attempt could not be started", exc=error, run_id=attempt.run.id)
        attempt.gone(Cause.WORKER)

    def _carry(self, attempt: Attempt, start: Start) -> None:
        if attempt.run.kind is Isolation.ISOLATED:
            self._isolated.carry(attempt, start)
        elif _is_suspect(attempt.run):
            self._carry_solo(attempt, start)
        else:
            self._hosts.carry(attempt, start)

    def _start_frame(self, attempt: Attempt, request: bytes, runner: Runner) -> Start:
        needs = msgspec.json.decode(request, type=_Needs)
        run = attempt.run
        access = self._access
        grant = access.grant(run, attempt.id, needs.model, self._holds) if attempt.has_model else None
        return Start(
            run_id=run.id,
            attempt_id=attempt.id,
            attempt=run.attempt,
            request=request,
            entry=runner.entry,
            base_url=grant.base_url if grant else None,
            token=grant.token if grant else None,
            agent_root=self._agent_root,
            mcp={name: self._settings.mcp[name] for name in needs.mcp if name in self._settings.mcp},
            env=self._env_of(run.agent),
        )

    def _env_of(self, agent: str | None) -> dict[bytes, bytes]:
        """What the operator gives this agent; of one that is no longer named here, nothing."""
        if agent not in self._settings.agents:
            return {}
        named = self._settings.agents[agent].env
        return {os.fsencode(name): os.fsencode(value) for name, value in named.items()}

    def _holds(self) -> bool:
        return self._lease.is_held

    def _carry_solo(self, attempt: Attempt, start: Start) -> None:
        """A run that a host has died with gets a process of its own: there it can harm only itself."""
        attempt.place = self
        if len(self._solo) < SOLO_AT_ONCE:
            self._solo.add(attempt.id)
            self._isolated.carry(attempt, start)
        else:
            self._solo_waiting.append((attempt, start))

    def stop(self, attempt_id: str, *, grace_s: float) -> None:
        """As the `Place` of runs that wait to be alone: they have nothing to be stopped."""
        for waiting in [pair for pair in self._solo_waiting if pair[0].id == attempt_id]:
            self._solo_waiting.remove(waiting)
            waiting[0].gone(Cause.WORKER)

    def _over(self, attempt: Attempt) -> None:
        """Nothing of the attempt is left, and its end is written: its place is free."""
        if self.attempts.pop(attempt.id, None) is None:
            return
        self._busy[attempt.run.kind] -= 1
        if attempt.id in self._solo:
            self._solo.discard(attempt.id)
            if self._solo_waiting:
                self._next_solo()
        self._bells[attempt.run.kind].ring()
        if not self.attempts:
            self._idle.ring()

    def _next_solo(self) -> None:
        attempt, start = self._solo_waiting.popleft()
        try:
            self._carry_solo(attempt, start)
        except OSError as error:
            self._not_started(attempt, error)

    # Watching.

    async def _check_held(self) -> None:
        """Another process may have taken runs from here without our hearing which: ask the store, stop those."""
        while True:
            await self._engine.wakeups.doubt.wait()
            try:
                await self._end_unheld(list(self.attempts.values()))
            except StoreUnavailable:
                pass  # the bell rings again in a second

    async def _end_unheld(self, attempts: list[Attempt]) -> None:
        held = await self._engine.held(self.id)
        for attempt in attempts:
            if attempt.id not in held and not attempt.is_decided:
                attempt.fenced(await self._engine.head(attempt.run.id))

    def _card(self) -> WorkerCard:
        settings = self._settings
        return WorkerCard(
            name=settings.worker_name or socket.gethostname(),
            host=socket.gethostname(),
            pid=os.getpid(),
            instance=self._instance,
            version=__version__,
            runners=tuple(sorted(self._runners)),
            queues=settings.queues or None,
            has_model=settings.model is not None,
            shared=settings.shared_concurrency,
            isolated=settings.concurrency,
            is_draining=self._is_draining,
            at=self._clock.now(),
            lease_ms=round(settings.lease_s * 1000),
        )

    def _end_overdue(self) -> None:
        now = self._clock.monotonic()
        for attempt in [attempt for attempt in self.attempts.values() if attempt.deadline <= now]:
            attempt.time_up()

    def _tick(self) -> None:
        self._hosts.tick()
        self._isolated.tick()
        janitor.end_strays(self.folder, self.helpers)

    def _lease_changed(self, is_held: bool) -> None:
        """Claim again; or stop all that runs, and take another name, so that what it held can run out."""
        if is_held:
            self._ring()
            return
        self.id = random_id("wrk")
        for attempt in list(self.attempts.values()):
            attempt.abandon()


def _is_suspect(run: Run) -> bool:
    """A host died with this run in it, or a process of its own did."""
    return run.solo or run.lost > 0


def _preload(runners: Mapping[str, Runner]) -> list[str]:
    modules = [module for runner in runners.values() for module in runner.preload]
    entries = [runner.entry.partition(":")[0] for runner in runners.values()]
    return [module for module in dict.fromkeys([*modules, *entries]) if module not in ALWAYS]
