"""The verbs: everything that changes or reads a run goes through here, whoever asks.

A verb is decide (pure, in `lifecycle`) and apply (one transaction, in the store), for a `Caller`. API, worker,
gateway, dashboard and command line call verbs; none of them writes a status.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from outlast.clock import Clock, Ids
from outlast.errors import (
    InvalidBody,
    RunNotFound,
    RunNotSucceeded,
    ScheduleNotFound,
    SessionNotFound,
    StoreUnavailable,
    quoted,
)
from outlast.relay import Relay
from outlast.runs import (
    DEFAULT_QUEUE,
    Body,
    Caller,
    Draft,
    Event,
    EventKind,
    Isolation,
    JsonObject,
    Progress,
    Retry,
    Run,
    RunError,
    RunRequest,
    RunState,
    RunStatus,
    Usage,
)
from outlast.schedules import Schedule
from outlast.store.lanes import NO_LIMITS, Limits
from outlast.store.plan import conflict
from outlast.store.protocol import (
    INLINE_MAX,
    Claimed,
    Delivery,
    Listing,
    Offer,
    Page,
    RunFilter,
    Rung,
    ScheduleListing,
    SessionListing,
    SessionSeen,
    Store,
    Submit,
    Submitted,
    Turn,
)
from outlast.transitions import (
    Append,
    Cancel,
    Cause,
    Command,
    Delete,
    Fail,
    HandBack,
    Lose,
    Succeed,
    Transition,
    Wait,
    Wake,
)
from outlast.wakeups import Wakeups, Watch
from outlast.workers import WorkerCard, WorkerSeen

MAX_RESULT = 32 * 1024 * 1024
"""Bytes of JSON a result may have; a larger one fails its run."""

MAX_AHEAD_S = 366 * 86_400
"""How long before its start a run may be handed in."""


class Idempotency(msgspec.Struct, frozen=True):
    """The key a client submits under, where it is unique, and the hash of the body it stands for."""

    key: str
    session: str
    """Empty for the whole tenant."""
    hash: bytes


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A submit whose questions are all answered: runner, model and texts are fixed."""

    request: RunRequest
    kind: Isolation
    timeout_s: int
    priority_s: int = 0
    run_at: int | None = None
    """Not before this time; a time that has passed is now."""
    delay_ms: int = 0
    """Not before so long from now."""
    schedule_id: str | None = None
    queue: str = DEFAULT_QUEUE
    webhook_url: str | None = None
    retry: Retry = Retry()
    idempotency: Idempotency | None = None


class Engine:
    """The one way in. Give it a store that is open; it takes over the store's `on_commit`."""

    clock: Clock

    def __init__(self, store: Store, clock: Clock, limits: Limits = NO_LIMITS) -> None:
        self._store = store
        self._clock = self.clock = clock
        self._ids = Ids(clock)
        self.wakeups = Wakeups()
        self.relay = Relay(self.wakeups, store.tell, clock)
        store.limits = limits
        store.on_commit = self.wakeups.publish
        store.on_rung = self._rung
        store.on_told = self.relay.hear
        self._looking: asyncio.Task[None] | None = None

    def _rung(self, rungs: Sequence[Rung]) -> None:
        if rungs:
            self.wakeups.rung(rungs)
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Some commits of other processes may not have been heard of."""
        self.relay.ask_again()
        try:
            seqs = await self._store.seqs(list(self.wakeups.watches))
        except StoreUnavailable:
            return  # it is said again in a second
        self.wakeups.missed(seqs)

    # What clients do.

    async def replay(self, caller: Caller, idempotency: Idempotency) -> Run | None:
        """The run this key already has; `IdempotencyConflict` if that was for another body."""
        run = await self._store.by_key(caller.tenant, idempotency.session, idempotency.key)
        if run is not None and run.idempotency_hash != idempotency.hash:
            raise conflict(run)
        return run

    async def submit(self, caller: Caller, new: NewRun) -> Submitted:
        """Accept a run. When this returns, the run is on disk.

        With an idempotency key that is taken: the existing run if the body is the same, else `IdempotencyConflict`.
        """
        run = self._born(caller, new)
        request = await self._stow(caller.tenant, msgspec.json.encode(new.request))
        return await self._store.submit(Submit(run, request))

    def _born(self, caller: Caller, new: NewRun) -> Run:
        now = self._clock.now()
        request, idempotency = new.request, new.idempotency
        start_at = max(now + new.delay_ms, new.run_at or 0)
        if start_at - now > MAX_AHEAD_S * 1000:
            raise InvalidBody(
                f"The run would start in more than {MAX_AHEAD_S // 86_400} days; hand it in later."
            )
        return Run(
            id=self._ids.new("run"),
            tenant=caller.tenant,
            state=RunState.QUEUED,
            runner=request.runner,
            framework=request.framework,
            kind=new.kind,
            created_at=now,
            timeout_s=new.timeout_s,
            submitted_by=caller.key_id,
            session_id=request.session_id,
            agent=request.agent,
            queue=new.queue,
            priority_s=new.priority_s,
            order_at=start_at - new.priority_s * 1000,
            due_at=start_at if start_at > now else None,
            ready=start_at <= now,
            schedule_id=new.schedule_id,
            retry=new.retry,
            webhook_url=new.webhook_url,
            metadata=_raw(request.metadata),
            idempotency_key=idempotency.key if idempotency else None,
            idempotency_session=idempotency.session if idempotency else None,
            idempotency_hash=idempotency.hash if idempotency else None,
        )

    async def cancel(self, caller: Caller, run_id: str) -> Run:
        """End a run that has not ended; `RunFinished` otherwise. Terminal at once, the agent is stopped after."""
        return (await self._store.apply(run_id, Cancel(), caller.tenant)).run

    async def delete(self, caller: Caller, run_id: str) -> None:
        """Remove a finished run and all that belongs to it; `RunActive` while it has not ended."""
        await self._store.apply(run_id, Delete(), caller.tenant)

    async def get(self, caller: Caller, run_id: str) -> Run:
        """The run's head; `RunNotFound` also for another tenant's run."""
        run = await self._store.run(run_id)
        if run is None or run.tenant != caller.tenant:
            raise RunNotFound(f"There is no run {run_id}; it was never accepted here, or it was deleted.")
        return run

    async def result(self, caller: Caller, run_id: str) -> tuple[Run, bytes]:
        """A succeeded run and its result's JSON; `RunNotSucceeded` says what the run is instead."""
        run = await self.get(caller, run_id)
        result = await self._store.result(run_id) if run.state is RunState.SUCCEEDED else None
        if result is None:
            raise RunNotSucceeded(_no_result(run))
        return run, result

    async def events(self, caller: Caller, run_id: str, after: int = 0, limit: int = 500) -> list[Event]:
        """Up to `limit` events numbered above `after`, in order."""
        await self.get(caller, run_id)
        return await self._store.events(run_id, after, limit)

    async def logged_bytes(self, run_id: str) -> int:
        """How many bytes of log the run has by now, for the worker that goes on with it."""
        return await self._store.logged_bytes(run_id)

    async def list_runs(self, caller: Caller, which: RunFilter, page: Page) -> Listing:
        """A page of the caller's runs, newest first."""
        return await self._store.list_runs(caller.tenant, which, page)

    async def check_ready(self) -> None:
        """`StoreUnavailable` if nothing could be accepted now, as far as that can be told cheaply."""
        await self._store.check_ready()

    async def counts(self, caller: Caller) -> Mapping[RunStatus, int]:
        """How many of the caller's runs are in each status."""
        return await self._store.counts(caller.tenant)

    async def schedule(self, caller: Caller, schedule_id: str) -> Schedule:
        """The schedule; `ScheduleNotFound` also for another tenant's."""
        schedule = await self._store.schedule(schedule_id)
        if schedule is None or schedule.tenant != caller.tenant:
            raise ScheduleNotFound(
                f"There is no schedule {schedule_id}; it was never made, or it was deleted."
            )
        return schedule

    async def list_schedules(self, caller: Caller, size: int, offset: int) -> ScheduleListing:
        """A page of the caller's schedules, newest first."""
        return await self._store.list_schedules(caller.tenant, size, offset)

    async def next_schedules(self, limit: int) -> list[Schedule]:
        """Those that fire next, of all tenants, soonest first."""
        return await self._store.next_schedules(limit)

    async def turn(
        self, before: Schedule | None, after: Schedule | None, new: NewRun | None = None
    ) -> Submitted | None:
        """Change a schedule, and accept the run that this fire makes: both are on disk then, or neither.

        `ScheduleChanged` if somebody else has changed it since `before` was read. `timetable.py` has the rules.
        """
        run = None
        if after is not None and new is not None:
            caller = Caller(after.tenant, after.created_by)
            born = self._born(caller, msgspec.structs.replace(new, schedule_id=after.id))
            run = Submit(born, await self._stow(after.tenant, msgspec.json.encode(new.request)))
            after = msgspec.structs.replace(after, last_run_id=born.id)
        if after is not None and before is not None:
            after = msgspec.structs.replace(after, revision=before.revision + 1)
        submitted = await self._store.turn(Turn(before, after, run))
        self.wakeups.schedules.ring()
        return submitted

    async def session(self, caller: Caller, session_id: str) -> SessionSeen:
        """A session of the caller's; `SessionNotFound` if nothing was ever submitted to it or said of it."""
        found = await self._store.session(caller.tenant, session_id)
        if found is None:
            raise SessionNotFound(
                f"There is no session {quoted(session_id)}; the first run with that session_id makes it."
            )
        return found

    async def sessions(self, caller: Caller, page: Page) -> SessionListing:
        """A page of the caller's sessions, newest first."""
        return await self._store.sessions(caller.tenant, page)

    async def limit_session(self, caller: Caller, session_id: str, max_running: int | None) -> SessionSeen:
        """How many of the session's runs go at one time; null is as many as in any session.

        It decides who gets a place from now on: runs that have one keep it, runs that wait for one get it at once if
        there is room now, and runs that have not begun queue up for one if there was no limit before.
        """
        await self._store.limit_session(caller.tenant, session_id, max_running)
        return await self.session(caller, session_id)

    def watch(self, run_id: str, *, tokens: bool = False) -> Watch:
        """Follow a run: enter it, read the run's state, then wait; so nothing falls between."""
        if tokens:
            self.relay.ask([run_id])
        return self.wakeups.watch(run_id, tokens=tokens)

    async def wait(
        self, caller: Caller, run_id: str, timeout_s: float, give_up: Callable[[], bool] = lambda: False
    ) -> Run:
        """The run, once it has ended, `timeout_s` have passed, or a wake-up finds that `give_up` says so."""
        with self.watch(run_id) as watch:
            run = await self.get(caller, run_id)
            deadline = self._clock.monotonic() + timeout_s
            while not (run.is_final or give_up()) and await watch.wait(deadline - self._clock.monotonic()):
                stale = watch.take_stale()
                run = await self.get(caller, run_id) if stale else watch.run or run
        return run

    # What workers do. Each write carries its attempt's id and raises `Fenced` when that no longer holds the run.

    async def claim(self, offer: Offer) -> list[Claimed]:
        """Take ready runs, each under a fresh attempt, in queue order."""
        return await self._store.claim(offer)

    async def beat(self, worker_id: str, lease_s: float, card: WorkerCard = WorkerCard()) -> bool:  # noqa: B008
        """Renew the worker's lease; False when it had run out: its attempts are no longer its own."""
        return await self._store.beat(worker_id, round(lease_s * 1000), msgspec.json.encode(card))

    async def head(self, run_id: str) -> Run | None:
        """The run as it is now, null if it is deleted."""
        return await self._store.run(run_id)

    async def held(self, worker_id: str) -> frozenset[str]:
        """The attempts that still hold their runs for this worker."""
        return await self._store.held(worker_id)

    async def workers(self, caller: Caller | None = None) -> Sequence[WorkerSeen]:
        """Who works on this store, and on which runs: the caller's, or without one all of them."""
        return await self._store.workers(None if caller is None else caller.tenant)

    async def retire(self, worker_id: str) -> None:
        """The worker has ended and holds nothing."""
        await self._store.retire(worker_id)

    async def recover(self) -> Sequence[Transition]:
        """Requeue the runs of workers whose lease has ended, and ready the runs that are due."""
        return await self._store.recover()

    async def next_due_at(self) -> int | None:
        """When the next delayed run or retry is due; `recover` readies it."""
        return await self._store.next_due_at()

    async def append(
        self, run_id: str, attempt_id: str, drafts: Sequence[Draft], progress: Progress | None = None
    ) -> Run:
        """Record events of the attempt; with `progress`, also how far it is (the draft for it is added here)."""
        if progress is not None:
            drafts = [*drafts, Draft(EventKind.PROGRESS, msgspec.json.encode(progress))]
        return await self._apply(run_id, Append(attempt_id, tuple(drafts), progress))

    async def record_call(self, run_id: str, attempt_id: str, usage: Usage, draft: Draft) -> Run:
        """Count a finished model call."""
        return await self._apply(run_id, Append(attempt_id, (draft,), usage=usage))

    async def succeed(self, run: Run, attempt_id: str, result: bytes) -> Run:
        """End the run with a result (JSON in UTF-8); one above `MAX_RESULT` fails it instead."""
        if len(result) > MAX_RESULT:
            message = f"The result has {len(result)} bytes; the most a run may return is {MAX_RESULT}."
            return await self.fail(run.id, attempt_id, RunError("result_too_large", message))
        body = await self._stow(run.tenant, result)
        return await self._apply(run.id, Succeed(attempt_id, body))

    async def fail(
        self,
        run_id: str,
        attempt_id: str,
        error: RunError,
        *,
        retryable: bool = False,
        lingers: bool = False,
    ) -> Run:
        """End the run with an error, or put it back for another attempt if it is retryable and asked for that.

        If something of the attempt may still be there it `lingers`, and `reap` has to follow.
        """
        return await self._apply(run_id, Fail(attempt_id, error, retryable, lingers))

    async def lose(self, run_id: str, attempt_id: str, cause: Cause, *, lingers: bool = False) -> Run:
        """The attempt died without a word; the run goes back to the queue, or fails at its bound."""
        return await self._apply(run_id, Lose(attempt_id, cause, self._clock.now(), lingers))

    async def reap(self, attempt_id: str) -> None:
        """Nothing is left of an attempt that was ended by others than itself: what waits for its places may go on."""
        await self._store.reap(attempt_id)

    async def hand_back(self, run_id: str, attempt_id: str) -> Run:
        """Give the run back unharmed: this worker is going away."""
        return await self._apply(run_id, HandBack(attempt_id))

    async def suspend(self, run_id: str, attempt_id: str, kind: str, detail: msgspec.Raw) -> Run:
        """Let the run wait for something without holding anything."""
        return await self._apply(run_id, Wait(attempt_id, kind, detail))

    async def wake(self, run_id: str) -> Run:
        """What the run waited for is there."""
        return await self._apply(run_id, Wake())

    # What the webhook deliverer does.

    async def due_notices(self, limit: int, busy: Collection[str] = ()) -> Sequence[Delivery]:
        """Take webhook notices whose time has come, except those for the receivers in `busy`."""
        return await self._store.due_notices(limit, busy)

    async def settle_notice(self, notice_id: str, *, retry_at: int | None = None) -> None:
        """A notice is done with, or is to be tried again at `retry_at`."""
        await self._store.settle_notice(notice_id, retry_at=retry_at)

    async def next_notice_at(self, busy: Collection[str] = ()) -> int | None:
        """When the next notice is due, except those for the receivers in `busy`."""
        return await self._store.next_notice_at(busy)

    async def unstow(self, tenant: str, body: Body) -> bytes:
        """The bytes of a body, wherever they are kept."""
        if body.inline is not None:
            return body.inline
        assert body.hash is not None
        data = await self._store.blob(tenant, body.hash)
        if data is None:
            raise RunNotFound(f"The stored bytes {body.hash.hex()} are gone; their run was deleted.")
        return data

    async def _apply(self, run_id: str, command: Command) -> Run:
        return (await self._store.apply(run_id, command)).run

    async def _stow(self, tenant: str, data: bytes) -> Body:
        if len(data) <= INLINE_MAX:
            return Body(len(data), data)
        return Body(len(data), None, await self._store.put_blob(tenant, data))


def body_hash(fields: Mapping[str, object]) -> bytes:
    """What makes two submits the same: SHA-256 of the JSON with sorted keys, without nulls and `idempotency_*`."""
    kept = {k: v for k, v in fields.items() if v is not None and not k.startswith("idempotency_")}
    return hashlib.sha256(msgspec.json.encode(kept, order="sorted")).digest()


def _raw(value: JsonObject | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(msgspec.json.encode(value))


def _no_result(run: Run) -> str:
    match run.state:
        case RunState.FAILED:
            return f"Run {run.id} failed and has no result: {run.error.message if run.error else 'no reason known'}"
        case RunState.CANCELLED:
            return f"Run {run.id} was cancelled and has no result; submit it again to get one."
        case _:
            return f"Run {run.id} is {run.status}; poll it until it has succeeded, then ask for the result."
