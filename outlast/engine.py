"""The verbs: everything that changes or reads a run goes through here, whoever asks.

A verb is decide (pure, in `lifecycle`) and apply (one transaction, in the store), for a `Caller`. API, worker,
gateway, dashboard and command line call verbs; none of them writes a status.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from outlast.births import Idempotency, NewRun, born, forked, journal_for
from outlast.bodies import Bodies
from outlast.clock import Clock, Ids
from outlast.errors import (
    RunNotSucceeded,
    ScheduleNotFound,
)
from outlast.journal import FinishedCall
from outlast.journals import Journals
from outlast.neighbours import Neighbours
from outlast.outbox import Outbox
from outlast.relay import Relay
from outlast.runs import (
    Caller,
    Draft,
    Event,
    EventKind,
    JournalMode,
    Progress,
    Run,
    RunError,
    RunState,
    RunStatus,
    Usage,
)
from outlast.schedules import Schedule
from outlast.sessions import Sessions
from outlast.store.lanes import NO_LIMITS, Limits
from outlast.store.plan import conflict, not_there
from outlast.store.protocol import (
    Claimed,
    Listing,
    ModelCallSeen,
    Offer,
    Page,
    RunFilter,
    ScheduleListing,
    Store,
    Submit,
    Submitted,
    Turn,
)
from outlast.tool_journal import ToolJournal
from outlast.transitions import (
    Afford,
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


class Engine:
    """The one way in; its parts have the verbs about sessions, steps and so on. Give it a store of its own."""

    clock: Clock

    def __init__(self, store: Store, clock: Clock, limits: Limits = NO_LIMITS) -> None:
        self._store = store
        self._clock = self.clock = clock
        self._ids = Ids(clock)
        self.wakeups = Wakeups()
        self.relay = Relay(self.wakeups, store.tell, clock)
        store.limits = limits
        store.on_commit = self.wakeups.publish
        store.on_rung = Neighbours(store, self.wakeups, self.relay).hear
        store.on_told = self.relay.hear
        self.bodies = Bodies(store)
        self.journals = Journals(store, self.bodies)
        self.steps = ToolJournal(store, self.bodies)
        self.sessions = Sessions(store)
        self.outbox = Outbox(store)

    # What clients do.

    async def replay(self, caller: Caller, idempotency: Idempotency) -> Run | None:
        """The run this key already has; `IdempotencyConflict` if that was for another body."""
        run = await self._store.by_key(caller.tenant, idempotency.session, idempotency.key)
        if run is not None and run.idempotency_hash != idempotency.hash:
            raise conflict(run)
        return run

    async def submit(self, caller: Caller, new: NewRun, run_id: str | None = None) -> Submitted:
        """Accept a run. When this returns, the run is on disk.

        With an idempotency key that is taken: the existing run if the body is the same, else `IdempotencyConflict`.
        `run_id` is for whoever had to know its id before.
        """
        run = born(run_id or self._ids.new("run"), caller, new, self._clock.now())
        request = await self.bodies.keep(caller.tenant, msgspec.json.encode(new.request))
        return await self._store.submit(Submit(run, request))

    async def retry(
        self, caller: Caller, run_id: str, mode: JournalMode, idempotency: Idempotency | None = None
    ) -> Submitted:
        """Accept a new run of what a finished one was asked; `RunActive` for one that goes on. That one stays as it is.

        With `resume` it begins with the old one's journal, so that what was answered is not paid again.
        """
        old = await self.get(caller, run_id)
        run = forked(self._ids.new("run"), caller, old, self._clock.now(), idempotency)
        asked = await self._store.request(run_id)
        if asked is None:
            raise not_there(run_id)
        request = await self.bodies.keep(old.tenant, asked)
        return await self._store.submit(Submit(run, request, journal_for(old, mode)))

    async def cancel(self, caller: Caller, run_id: str) -> Run:
        """End a run that has not ended; `RunFinished` otherwise. Terminal at once, the agent is stopped after."""
        return (await self._store.apply(run_id, Cancel(), caller.tenant)).run

    async def afford(self, caller: Caller, run_id: str, change: Afford) -> Run:
        """Set what the run may use; one that waits goes on if some is left. `RunFinished` if it ended."""
        return (await self._store.apply(run_id, change, caller.tenant)).run

    async def delete(self, caller: Caller, run_id: str) -> None:
        """Remove a finished run and all that belongs to it; `RunActive` while it has not ended."""
        await self._store.apply(run_id, Delete(), caller.tenant)

    async def get(self, caller: Caller, run_id: str) -> Run:
        """The run's head; `RunNotFound` also for another tenant's run."""
        run = await self._store.run(run_id)
        if run is None or run.tenant != caller.tenant:
            raise not_there(run_id)
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

    async def model_calls(
        self, caller: Caller, run_id: str, after: int = 0, limit: int = 500
    ) -> list[ModelCallSeen]:
        """The run's model calls, each as its event tells: up to `limit` of those numbered above `after`."""
        await self.get(caller, run_id)
        return await self._store.model_calls(run_id, after, limit)

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
            new = msgspec.structs.replace(new, schedule_id=after.id)
            first = born(self._ids.new("run"), caller, new, self._clock.now())
            run = Submit(first, await self.bodies.keep(after.tenant, msgspec.json.encode(new.request)))
            after = msgspec.structs.replace(after, last_run_id=first.id)
        if after is not None and before is not None:
            after = msgspec.structs.replace(after, revision=before.revision + 1)
        submitted = await self._store.turn(Turn(before, after, run))
        self.wakeups.schedules.ring()
        return submitted

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

    async def record_call(
        self, run_id: str, attempt_id: str, usage: Usage, draft: Draft, finished: FinishedCall | None = None
    ) -> Run:
        """Count a finished model call (`draft` is its event), and keep it in the run's journal if there is one to keep.

        All of it is on disk when this returns, or nothing. A call whose key is in the journal leaves that one as it is.
        """
        call = None
        if finished is not None:
            run = await self._store.run(run_id)
            if run is None:
                raise not_there(run_id)
            call = await self.journals.keep(run.tenant, finished)
        return await self._apply(run_id, Append(attempt_id, (draft,), usage=usage, call=call))

    async def succeed(self, run: Run, attempt_id: str, result: bytes) -> Run:
        """End the run with a result (JSON in UTF-8); one above `MAX_RESULT` fails it instead."""
        if len(result) > MAX_RESULT:
            message = f"The result has {len(result)} bytes; the most a run may return is {MAX_RESULT}."
            return await self.fail(run.id, attempt_id, RunError("result_too_large", message))
        body = await self.bodies.keep(run.tenant, result)
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

    async def _apply(self, run_id: str, command: Command) -> Run:
        return (await self._store.apply(run_id, command)).run


def _no_result(run: Run) -> str:
    match run.state:
        case RunState.FAILED:
            return f"Run {run.id} failed and has no result: {run.error.message if run.error else 'no reason known'}"
        case RunState.CANCELLED:
            return f"Run {run.id} was cancelled and has no result; submit it again to get one."
        case _:
            return f"Run {run.id} is {run.status}; poll it until it has succeeded, then ask for the result."
