"""What a store promises, whichever it is.

Every write is all or nothing, and is durable before its call returns: writes that arrive together share one
commit. A write that is refused (by `lifecycle.decide`, or by an idempotency key) changes nothing, for itself or
for those it shared the commit with. When the store cannot commit, the call raises `StoreUnavailable` and nothing
of it happened. After each commit, and before the calls return, `on_commit` hears the transitions in order.

Where several processes share a store, each hears of the others' commits through `on_rung`, soon but not surely: what a
rung says is a reason to look, never the truth.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from outlast.journal import CallKey, Fork, JournalRows, KeptAnswer
from outlast.runs import Body, Event, Isolation, Json, Notice, Run, RunStatus
from outlast.schedules import Schedule
from outlast.steps import Step, StepPage
from outlast.store.lanes import Limits
from outlast.transitions import Command, Transition
from outlast.workers import WorkerSeen

INLINE_MAX = 64 * 1024
"""Bytes up to which a request or a result stands in the run's own row; larger ones go to the blobs first."""

COUNT_MAX = 10_000
"""Beyond this many, a filtered total is only a lower bound."""

RECEIVER_SHARE = 8
"""Webhook notices of one receiver that are claimed at once."""

SCHEDULES_MAX = 1000
"""How many schedules a tenant may have."""

OnCommit = Callable[[Sequence[Transition]], None]


class Rung(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """That another process changed a run, and what of it concerns more than its readers."""

    run_id: str
    is_ready: bool = False
    """It can be claimed."""
    has_notice: bool = False
    """Its webhook notice is in the outbox."""
    taken_from: str | None = None
    """The attempt that it was taken from by someone else."""


OnRung = Callable[[Sequence[Rung]], None]
OnTold = Callable[[bytes], None]

TOLD_MAX = 7000
"""Bytes that can be told at once."""


class Submit(msgspec.Struct, frozen=True, gc=False):
    """A run to be born, with its `RunRequest` as JSON."""

    run: Run
    request: Body
    fork: Fork | None = None
    """The journal it begins with; `RunNotFound` if that run is gone."""


class Submitted(msgspec.Struct, frozen=True, gc=False):
    """The run that now is: the new one, or the one its idempotency key already had."""

    run: Run
    replayed: bool = False


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What a worker can take right now."""

    worker_id: str
    kind: Isolation
    runners: frozenset[str]
    limit: int
    queues: frozenset[str] | None = None
    """The queues it serves, null for all of them."""


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A run that a worker just took, with its `RunRequest` as JSON."""

    run: Run
    request: bytes


class RunFilter(msgspec.Struct, frozen=True, gc=False):
    """Which runs of a tenant to list; newest first."""

    status: RunStatus | None = None
    session_id: str | None = None
    agent: str | None = None
    framework: str | None = None
    schedule_id: str | None = None


class Page(msgspec.Struct, frozen=True, gc=False):
    """Which part of the list: an offset, or everything older than the run `before`."""

    size: int = 20
    offset: int = 0
    before: str | None = None


class Listing(msgspec.Struct, frozen=True, gc=False):
    """A page of runs and how many there are in all."""

    runs: tuple[Run, ...]
    total: int
    total_is_lower_bound: bool = False


class ModelCallSeen(msgspec.Struct, frozen=True, gc=False):
    """A `model_call` event, and the number of its attempt."""

    seq: int
    at: int
    attempt: int
    data: Json


class SessionSeen(msgspec.Struct, frozen=True, gc=False):
    """A session: its own limit, null without one, and how many runs it has in each status."""

    id: str
    created_at: int
    max_running: int | None
    counts: Mapping[RunStatus, int]


class SessionListing(msgspec.Struct, frozen=True, gc=False):
    """A page of sessions and how many there are in all, counted up to `COUNT_MAX`."""

    sessions: tuple[SessionSeen, ...]
    total: int
    total_is_lower_bound: bool = False


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A notice that is due, and how often it has been tried."""

    notice: Notice
    tries: int
    created_at: int


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A schedule goes from what was read to what it shall be: null before is a new one, null after deletes it."""

    before: Schedule | None
    after: Schedule | None
    """Of the next revision."""
    run: Submit | None = None
    """What this fire makes."""


class ScheduleListing(msgspec.Struct, frozen=True, gc=False):
    """A page of schedules and how many there are in all."""

    schedules: tuple[Schedule, ...]
    total: int


class Store(Protocol):
    """One place where runs are kept. All methods are called on one event loop."""

    limits: Limits
    """How many runs go at one time; the engine sets it, before anything is submitted."""
    on_commit: OnCommit
    on_rung: OnRung
    """Hears what other processes committed. An empty list means that something may have been missed: look at
    everything that matters. It also comes every second or so, and never where the store has one process."""
    on_told: OnTold
    """Hears what other processes `tell`."""

    async def open(self) -> None:
        """Own the store and bring its schema up to date; `StoreOwned` if another server has it."""
        ...

    async def close(self) -> None:
        """Finish what was handed in, then let go."""
        ...

    async def submit(self, new: Submit) -> Submitted:
        """Keep a new run; `IdempotencyConflict` if its key has another body."""
        ...

    async def apply(self, run_id: str, command: Command, tenant: str | None = None) -> Transition:
        """Decide and write one command; `RunNotFound` or `Refused` change nothing.

        With a tenant, another tenant's run is `RunNotFound`. `Delete` also removes the run and all its rows, but not a
        notice that is still owed.
        """
        ...

    async def claim(self, offer: Offer) -> list[Claimed]:
        """Take up to `offer.limit` ready runs in queue order, each under a fresh attempt id."""
        ...

    async def put_blob(self, tenant: str, data: bytes) -> bytes:
        """Keep bytes under their SHA-256, which is returned; the same bytes are kept once per tenant."""
        ...

    async def beat(self, worker_id: str, lease_ms: int, card: Json = b"{}") -> bool:
        """Renew a worker's lease from now; False if it had run out and its runs were taken away.

        `card` is its `WorkerCard`, kept with the lease.
        """
        ...

    async def retire(self, worker_id: str) -> None:
        """Forget a worker that holds no run any more."""
        ...

    async def recover(self) -> list[Transition]:
        """Take the runs of every worker whose lease has ended back to the queue, and make ready what is due.

        Called every second or so, and at `next_due_at`; each call also clears away a little of what deleted runs left.
        """
        ...

    async def next_due_at(self) -> int | None:
        """When the next delayed run or retry is due, null when there is none; may lie in the past."""
        ...

    async def turn(self, turn: Turn) -> Submitted | None:
        """Write a change of a schedule and the run it makes, both or neither; the answer is the run.

        `ScheduleChanged` unless the schedule that is kept has the revision of `before`: of those who fire for the same
        time, one succeeds. `TooManySchedules` for a new one beyond `SCHEDULES_MAX` of its tenant. If the run's
        idempotency key has a run, that is the answer and the schedule stays as it was; `IdempotencyConflict` likewise.
        """
        ...

    async def schedule(self, schedule_id: str) -> Schedule | None:
        """The schedule as it is kept."""
        ...

    async def list_schedules(self, tenant: str, size: int, offset: int) -> ScheduleListing:
        """A page of the tenant's schedules, newest first; the total is exact."""
        ...

    async def next_schedules(self, limit: int) -> list[Schedule]:
        """Those that fire next, of all tenants, soonest first; whether their time has come is for the caller to see."""
        ...

    async def reap(self, attempt_id: str) -> None:
        """Nothing of the attempt is left: the places in lanes that it kept beyond its run's end are free."""
        ...

    async def limit_session(self, tenant: str, session_id: str, max_running: int | None) -> None:
        """Give the session a limit of its own, or (null) the common one; it is made if it is not there yet."""
        ...

    async def session(self, tenant: str, session_id: str) -> SessionSeen | None:
        """The session, null if nothing was ever submitted to it or said of it."""
        ...

    async def sessions(self, tenant: str, page: Page) -> SessionListing:
        """A page of the tenant's sessions, newest first; `page.before` is the session that the last page ended with."""
        ...

    def tell(self, message: bytes) -> None:
        """Say something to every other process on this store, soon. It may be lost; at most `TOLD_MAX` bytes."""
        ...

    async def held(self, worker_id: str) -> frozenset[str]:
        """The attempts through which the worker holds runs."""
        ...

    async def workers(self, tenant: str | None = None) -> list[WorkerSeen]:
        """The workers that hold a lease, and those lost within the last day, oldest first.

        With a tenant, only its runs are named.
        """
        ...

    async def due_notices(self, limit: int, busy: Collection[str] = ()) -> list[Delivery]:
        """Claim notices whose time has come: each comes back to no one else until it is settled or a minute passed.

        At most `RECEIVER_SHARE` of any one receiver, and none for a receiver in `busy` (`Notice.receiver`), so that a
        backlog for one delays no other.
        """
        ...

    async def settle_notice(self, notice_id: str, *, retry_at: int | None) -> None:
        """The notice was delivered or given up (`retry_at` null), or is to be tried again at that time."""
        ...

    async def next_notice_at(self, busy: Collection[str] = ()) -> int | None:
        """When the next notice for a receiver not in `busy` is due, null when none is owed."""
        ...

    async def run(self, run_id: str) -> Run | None:
        """The run's head."""
        ...

    async def seqs(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """The number of each run's last event, of those that are there."""
        ...

    async def request(self, run_id: str) -> bytes | None:
        """The run's `RunRequest` as JSON."""
        ...

    async def result(self, run_id: str) -> bytes | None:
        """The result as JSON, null when the run has none."""
        ...

    async def blob(self, tenant: str, digest: bytes) -> bytes | None:
        """The bytes kept under this hash."""
        ...

    async def model_calls(self, run_id: str, after: int, limit: int) -> list[ModelCallSeen]:
        """The run's `model_call` events with a number above `after`, in order."""
        ...

    async def journal(self, run_id: str, generation: int) -> JournalRows:
        """What a generation of the run has in its journal, without the answers."""
        ...

    async def answer(self, run_id: str, generation: int, key: CallKey) -> KeptAnswer | None:
        """The answer to a call in the journal."""
        ...

    async def chain(self, tenant: str, last: bytes) -> list[bytes]:
        """The packed contents of a chain of links, the first one first."""
        ...

    async def step(self, run_id: str, generation: int, key: str) -> Step | None:
        """The step as it is kept."""
        ...

    async def steps(self, run_id: str, generation: int, page: Page) -> StepPage:
        """A page of a run's steps in the order in which they were begun (last); the total is exact."""
        ...

    async def by_key(self, tenant: str, session: str, key: str) -> Run | None:
        """The run that an idempotency key belongs to (`session` is empty for a key of the whole tenant)."""
        ...

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """The run's events with a number above `after`, in order."""
        ...

    async def logged_bytes(self, run_id: str) -> int:
        """How many bytes the run's log events have."""
        ...

    async def list_runs(self, tenant: str, which: RunFilter, page: Page) -> Listing:
        """A page of the tenant's runs, newest first."""
        ...

    async def check_ready(self) -> None:
        """`StoreUnavailable` if a write would be refused now, as far as that can be told cheaply."""
        ...

    async def counts(self, tenant: str) -> Mapping[RunStatus, int]:
        """How many runs the tenant has in each status; exact."""
        ...
