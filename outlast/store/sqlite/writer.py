"""The one thread that writes: it collects what arrived while the last commit ran, commits once, then answers.

Each write is an `Op`. Submits and commands are decided by `Plan`; the rest is a statement or two. What one op refuses
is its own error; an error of SQLite rolls back everything, and the batch is then tried again one op at a time, so
that a single bad op cannot take its neighbours with it.
"""

import asyncio
import hashlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence

import msgspec

from outlast import telemetry
from outlast.clock import Clock, random_id
from outlast.errors import OutlastError, StoreUnavailable
from outlast.lifecycle import Cause, Claim, Command, Due, Lose, Transition
from outlast.runs import Body, Notice, Run
from outlast.store import rows
from outlast.store.plan import KeyPlace, Plan, key_places
from outlast.store.protocol import RECEIVER_SHARE, Claimed, Delivery, Offer, OnCommit, Submit
from outlast.store.queries import Row, Value, query, statements

PACKAGE = "outlast.store.sqlite"
BATCH_MAX = 2000
NOTICE_CLAIM_MS = 60_000
"""A notice that was claimed and not settled in this time is due again."""
LOST_KEPT_MS = 24 * 3600 * 1000

log = telemetry.get("store")

Heads = dict[str, Run]
Answer = object


class Apply(msgspec.Struct, frozen=True):
    """One command for one run."""

    run_id: str
    command: Command
    tenant: str | None


class Recover(msgspec.Struct, frozen=True):
    """Requeue what lost its worker; ready what is due."""


Do = Callable[[sqlite3.Connection, int], Answer]
"""A write that touches no run: gets the connection and the time."""
Op = Submit | Apply | Offer | Recover | Do


class _Handed(msgspec.Struct, frozen=True):
    op: Op
    future: "asyncio.Future[Answer]"


class Writer:
    """Owns the writing connection and the heads of the runs it wrote last."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        heads: Heads,
        heads_max: int,
        on_commit: OnCommit,
    ) -> None:
        self._db = connection
        self._clock = clock
        self._heads = heads
        self._heads_max = heads_max
        self._stopped = False
        self._queue: queue.SimpleQueue[_Handed | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="outlast-writer", daemon=True)
        self._on_commit = on_commit

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what was handed in, then end the thread."""
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    async def do(self, op: Op) -> Answer:
        """Hand in a write; returns after its commit. Cancelling the caller does not undo it."""
        if self._stopped:
            raise StoreUnavailable("The server is stopping; nothing was written. Try again once it is back.")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put(_Handed(op, future))
        return await future

    def _work(self) -> None:
        going = True
        while going:
            batch, going = self._collect()
            if batch:
                self._write(batch)

    def _collect(self) -> tuple[list[_Handed], bool]:
        batch: list[_Handed] = []
        handed = self._queue.get()
        while handed is not None:
            batch.append(handed)
            if len(batch) >= BATCH_MAX or self._queue.empty():
                return batch, True
            handed = self._queue.get()
        return batch, False

    def _write(self, batch: list[_Handed]) -> None:
        try:
            answers, transitions = _Transaction(self._db, self._clock.now(), self._heads).run(batch)
        except sqlite3.OperationalError as error:
            log.error("commit failed", exc=error, writes=len(batch))
            unavailable = StoreUnavailable(
                f"The store could not commit: {error}. Nothing was accepted; try again."
            )
            self._answer([(handed, unavailable) for handed in batch], [])
        except Exception as error:
            if len(batch) > 1:
                for handed in batch:
                    self._write([handed])
            else:
                log.error("write refused by the database", exc=error)
                self._answer([(batch[0], error)], [])
        else:
            self._remember(transitions)
            self._answer(answers, transitions)

    def _remember(self, transitions: Sequence[tuple[Transition, bool]]) -> None:
        for transition, deleted in transitions:
            self._heads.pop(transition.run.id, None)
            if not deleted:
                self._heads[transition.run.id] = transition.run
        while len(self._heads) > self._heads_max:
            del self._heads[next(iter(self._heads))]

    def _answer(
        self, answers: list[tuple[_Handed, Answer]], transitions: Sequence[tuple[Transition, bool]]
    ) -> None:
        # Those of a run deleted in the same commit too: its agent and its readers have to hear of its end.
        told = [transition for transition, _ in transitions]
        self._loop.call_soon_threadsafe(self._answer_on_loop, answers, told)

    def _answer_on_loop(self, answers: list[tuple[_Handed, Answer]], transitions: list[Transition]) -> None:
        try:
            self._on_commit(transitions)
        except Exception as error:  # what is committed has to be answered for, whoever else trips over it
            log.error("a listener broke", exc=error)
        for handed, answer in answers:
            if handed.future.done():
                continue
            if isinstance(answer, Exception):
                handed.future.set_exception(answer)
            else:
                handed.future.set_result(answer)


class _Transaction:
    """One batch: decide everything, write it set-wise, commit."""

    def __init__(self, db: sqlite3.Connection, now: int, heads: Heads) -> None:
        self._db = db
        self._now = now
        self._cached = heads

    def run(self, batch: list[_Handed]) -> tuple[list[tuple[_Handed, Answer]], list[tuple[Transition, bool]]]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            ops = [handed.op for handed in batch]
            self._plan = Plan(self._load_heads(ops), self._load_keys(ops), self._now)
            answers = [(handed, self._decide(handed.op)) for handed in batch]
            self._write_plan()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        deleted = self._plan.deleted
        gone = [(Transition(run), True) for run in deleted.values()]
        return answers, [(t, t.run.id in deleted) for t in self._plan.transitions] + gone

    def _decide(self, op: Op) -> Answer:
        try:
            match op:
                case Submit():
                    return self._plan.submit(op)
                case Apply():
                    return self._plan.apply(op.run_id, op.command, op.tenant)
                case Offer():
                    return self._claim(op)
                case Recover():
                    return self._recover()
                case _:
                    return op(self._db, self._now)
        except OutlastError as refusal:
            return refusal

    def _load_heads(self, ops: Sequence[Op]) -> Heads:
        wanted = {op.run_id for op in ops if isinstance(op, Apply)}
        found = {run_id: run for run_id in wanted if (run := self._cached.get(run_id)) is not None}
        missing = [run_id for run_id in wanted if run_id not in found]
        if missing:
            ids = msgspec.json.encode(missing).decode()
            found |= {row[0]: rows.read(row) for row in self._db.execute(_head("select_heads"), (ids,))}
        return found

    def _load_keys(self, ops: Sequence[Op]) -> dict[KeyPlace, Run]:
        keys: dict[KeyPlace, Run] = {}
        for place in key_places([op for op in ops if isinstance(op, Submit)]):
            row = self._db.execute(_head("select_by_key"), place).fetchone()
            if row is not None:
                keys[place] = rows.read(row)
        return keys

    def _claim(self, offer: Offer) -> list[Claimed]:
        runners = msgspec.json.encode(sorted(offer.runners)).decode()
        found = self._db.execute(_head("select_ready"), (offer.kind.value, runners, offer.limit)).fetchall()
        self._plan.know(rows.read(row) for row in found)
        claimed: list[Claimed] = []
        for row in found:
            try:
                claim = Claim(random_id("att"), offer.worker_id)
                run = self._plan.apply(row[0], claim).run
            except OutlastError:
                continue  # changed or deleted earlier in this very batch
            inline, digest = row[rows.HEAD_WIDTH :]
            claimed.append(Claimed(run, inline if inline is not None else self._blob(run.tenant, digest)))
        return claimed

    def _blob(self, tenant: str, digest: bytes) -> bytes:
        data: bytes = self._db.execute(query(PACKAGE, "select_blob"), (tenant, digest)).fetchone()[0]
        return data

    def _recover(self) -> list[Transition]:
        now = self._now
        orphans = self._db.execute(_head("select_orphans"), (now,)).fetchall()
        due = self._db.execute(_head("select_due"), (now,)).fetchall()
        self._db.execute(query(PACKAGE, "lose_workers"), (now,))
        self._db.execute(query(PACKAGE, "forget_workers"), (now - LOST_KEPT_MS,))
        self._plan.know(rows.read(row) for row in [*orphans, *due])
        commands = [(row[0], self._lose(row)) for row in orphans] + [(row[0], Due()) for row in due]
        return [t for run_id, command in commands if (t := self._try(run_id, command)) is not None]

    def _lose(self, row: Row) -> Command:
        run = self._plan.head(str(row[0]))
        ended_at = row[rows.HEAD_WIDTH]
        assert isinstance(ended_at, int)
        return Lose(run.attempt_id or "" if run else "", Cause.WORKER, ended_at)

    def _try(self, run_id: str, command: Command) -> Transition | None:
        try:
            return self._plan.apply(run_id, command)
        except OutlastError:
            return None  # changed earlier in this very batch

    def _write_plan(self) -> None:
        plan = self._plan
        self._insert("insert_runs", [self._new_row(run_id, body) for run_id, body in plan.born.items()])
        self._insert(
            "update_runs", [self._changed_row(r) for r in plan.changed.values() if r.id not in plan.born]
        )
        self._insert("insert_attempts", [_attempt_row(plan, a) for a in plan.started])
        ended = [
            a for a in plan.attempts.values() if a.id not in plan.started and a.run_id not in plan.deleted
        ]
        self._insert(
            "end_attempts",
            [(a.run_id, a.number, a.ended_at, a.end._value_ if a.end else None) for a in ended],
        )
        self._insert(
            "insert_events",
            [
                (e.run_id, e.seq, e.kind._value_, e.at, e.attempt_id, e.data)
                for e in plan.events
                if e.run_id not in plan.deleted
            ],
        )
        self._insert("insert_notices", [_notice_row(notice, self._now) for notice in plan.notices])
        sessions = {
            (r.tenant, r.session_id, self._now) for i in plan.born if (r := plan.changed[i]).session_id
        }
        self._insert("insert_sessions", sorted(sessions))
        self._insert("add_counts", [(*key, 0, n) for key, n in sorted(plan.counts.items()) if n])
        for run_id in plan.deleted:
            self._db.execute(query(PACKAGE, "delete_run"), (run_id,))

    def _new_row(self, run_id: str, request: Body) -> Row:
        run = self._plan.changed[run_id]
        result = rows.body(self._plan.results.get(run_id))
        return rows.fixed(run) + rows.moving(run) + rows.body(request) + result

    def _changed_row(self, run: Run) -> Row:
        return (run.id, *rows.moving(run), *rows.body(self._plan.results.get(run.id)))

    def _insert(self, name: str, values: Sequence[Row]) -> None:
        for sql, parameters in statements(PACKAGE, name, values):
            self._db.execute(sql, parameters)


def _attempt_row(plan: Plan, attempt_id: str) -> Row:
    a = plan.attempts[attempt_id]
    return (a.id, a.run_id, a.number, a.worker_id, a.started_at, a.ended_at, a.end._value_ if a.end else None)


def _notice_row(notice: Notice, now: int) -> Row:
    result = notice.result
    size = result.size if result else None
    return (
        notice.id,
        notice.run_id,
        notice.tenant,
        notice.url,
        notice.receiver,
        notice.head,
        *rows.body(result),
        size,
        now,
        now,
        0,
    )


def _head(name: str) -> str:
    return query(PACKAGE, name).replace(":head", rows.HEAD_COLUMNS)


# The writes that touch no run.


def beat(worker_id: str, lease_ms: int) -> Do:
    """Whether the worker's lease was renewed."""

    def do(db: sqlite3.Connection, now: int) -> bool:
        row = db.execute(query(PACKAGE, "beat"), (worker_id, now, now + lease_ms)).fetchone()
        return row is not None

    return do


def put_blob(tenant: str, data: bytes) -> tuple[bytes, Do]:
    """The hash under which the bytes will be kept, and the write."""
    digest = hashlib.sha256(data).digest()

    def do(db: sqlite3.Connection, now: int) -> None:
        db.execute(query(PACKAGE, "put_blob"), (tenant, digest, now, data))

    return digest, do


def names(receivers: Collection[str]) -> str:
    """A set of names as one SQL parameter."""
    return msgspec.json.encode(list(receivers)).decode()


def claim_notices(limit: int, busy: Collection[str]) -> Do:
    """Due deliveries, put off for as long as their delivery may take."""

    def do(db: sqlite3.Connection, now: int) -> list[Delivery]:
        claim = (now, now + NOTICE_CLAIM_MS, RECEIVER_SHARE, limit, names(busy))
        found = db.execute(query(PACKAGE, "claim_notices"), claim).fetchall()
        return [_delivery(row) for row in found]

    return do


def _delivery(row: tuple) -> Delivery:  # type: ignore[type-arg]  # columns of claim_notices.sql
    result = None if row[7] is None else Body(row[7], row[5], row[6])
    return Delivery(Notice(row[0], row[1], row[2], row[3], row[4], result), row[8], row[9])


def statement(name: str, *parameters: Value) -> Do:
    """A single statement without an answer."""

    def do(db: sqlite3.Connection, now: int) -> None:
        db.execute(query(PACKAGE, name), parameters)

    return do
