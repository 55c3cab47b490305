"""One transaction: decide every write of a batch, in order, and write what they decided set-wise.

What one op refuses is its own answer and changes nothing; whatever else goes wrong rolls all of it back.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from outlast.clock import random_ids
from outlast.errors import OutlastError
from outlast.runs import Body, Notice, Run
from outlast.store import rows
from outlast.store.lanes import Limits
from outlast.store.ops import LOST_KEPT_MS, Apply, LimitSession, Reap, Recover
from outlast.store.plan import KeyPlace, Plan, key_places
from outlast.store.protocol import Claimed, Offer, Submit, Turn
from outlast.store.queries import Row, query, statements
from outlast.store.sqlite import journal, steps
from outlast.store.sqlite.lanes import LaneRows
from outlast.store.sqlite.ops import PACKAGE, Answer, Op, names
from outlast.store.sqlite.turn import turn
from outlast.transitions import Cause, Claim, Command, Due, Lose, Succeed, Transition

Heads = dict[str, Run]


class Transaction:
    """One batch: decide everything, write it set-wise, commit."""

    def __init__(self, db: sqlite3.Connection, now: int, heads: Heads, limits: Limits) -> None:
        self._db = db
        self._now = now
        self._cached = heads
        self._lane_rows = LaneRows(db, limits)

    def run(self, ops: Sequence[Op]) -> tuple[list[Answer], list[tuple[Transition, bool]]]:
        """Each op's answer (a refusal is one too), and what was changed, with whether the run is deleted."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            heads = self._load_heads(ops)
            in_lanes = self._lane_rows.load([new.run for new in _submits(ops)], ops, heads.values())
            self._plan = Plan(heads, self._load_keys(ops), self._now, *in_lanes)
            self._plan.know_steps(steps.load(self._db, ops, heads))
            answers = [self._decide(op) for op in ops]
            self._lane_rows.settle(self._plan)
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
                case Turn():
                    return turn(self._db, self._plan, op)
                case Recover():
                    return self._recover(op)
                case Reap():
                    self._plan.reap(op.attempt_id)
                    return None
                case LimitSession():
                    self._lane_rows.limit_session(self._plan, op)
                    return None
                case _:
                    return op(self._db, self._now)
        except OutlastError as refusal:
            return refusal

    def _load_heads(self, ops: Sequence[Op]) -> Heads:
        wanted = {op.run_id for op in ops if isinstance(op, Apply)}
        wanted |= {new.fork.run_id for new in _submits(ops) if new.fork is not None}
        found = {run_id: run for run_id in wanted if (run := self._cached.get(run_id)) is not None}
        missing = [run_id for run_id in wanted if run_id not in found]
        if missing:
            ids = msgspec.json.encode(missing).decode()
            found |= {row[0]: rows.read(row) for row in self._db.execute(_head("select_heads"), (ids,))}
        return found

    def _load_keys(self, ops: Sequence[Op]) -> dict[KeyPlace, Run]:
        keys: dict[KeyPlace, Run] = {}
        for place in key_places(_submits(ops)):
            row = self._db.execute(_head("select_by_key"), place).fetchone()
            if row is not None:
                keys[place] = rows.read(row)
        return keys

    def _claim(self, offer: Offer) -> list[Claimed]:
        queues = None if offer.queues is None else names(offer.queues)
        wanted = (offer.kind.value, names(offer.runners), queues, offer.limit)
        found = self._db.execute(_head("select_ready"), wanted).fetchall()
        self._plan.know([rows.read(row) for row in found])
        claimed: list[Claimed] = []
        attempts = random_ids("att", len(found))
        for row, attempt_id in zip(found, attempts, strict=True):
            try:
                run = self._plan.apply(row[0], Claim(attempt_id, offer.worker_id)).run
            except OutlastError:
                continue  # changed or deleted earlier in this very batch
            inline, digest = row[rows.HEAD_WIDTH : rows.HEAD_WIDTH + 2]
            claimed.append(Claimed(run, inline if inline is not None else self._blob(run.tenant, digest)))
        return claimed

    def _blob(self, tenant: str, digest: bytes) -> bytes:
        data: bytes = self._db.execute(query(PACKAGE, "select_blob"), (tenant, digest)).fetchone()[0]
        return data

    def _recover(self, op: Recover) -> list[Transition]:
        now = self._now
        if op.is_first:
            self._lane_rows.relimit(self._plan)
        orphans = self._db.execute(_head("select_orphans"), (now,)).fetchall()
        due = self._db.execute(_head("select_due"), (now,)).fetchall()
        self._lane_rows.recover(self._plan, now)
        self._db.execute(query(PACKAGE, "lose_workers"), (now,))
        self._db.execute(query(PACKAGE, "forget_workers"), (now - LOST_KEPT_MS,))
        found = [rows.read(row) for row in [*orphans, *due]]
        self._lane_rows.load_of(self._plan, found)
        self._plan.know(found)
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
        self._write_changed()
        self._insert(
            "insert_attempts",
            [
                (a.run_id, a.number, a.id, a.worker_id, a.started_at, a.ended_at, a.end._value_)
                for a in plan.attempts
                if a.run_id not in plan.deleted
            ],
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
        for (tenant, session), limit in plan.sessions.items():
            self._db.execute(query(PACKAGE, "put_session"), (tenant, session, self._now, limit))
        self._lane_rows.write(plan)
        self._insert("add_counts", [(*key, 0, n) for key, n in sorted(plan.counts.items()) if n])
        journal.write(self._db, plan, self._now)
        steps.write(self._db, plan)
        for run_id in plan.deleted:
            self._db.execute(query(PACKAGE, "delete_run"), (run_id,))

    def _write_changed(self) -> None:
        """Of the two commonest changes, a claim and a success, only what they change."""
        plan = self._plan
        claimed, succeeded, others = [], [], []
        for run_id, run in plan.changed.items():
            command = plan.sole.get(run_id)
            if command is Claim:
                claimed.append(rows.claimed(run))
            elif command is Succeed:
                succeeded.append(rows.succeeded(run) + rows.body(plan.results[run_id]))
            elif run_id not in plan.born:
                others.append((run_id, *rows.moving(run), *rows.body(plan.results.get(run_id))))
        self._insert("update_claimed", claimed)
        self._insert("update_succeeded", succeeded)
        self._insert("update_runs", others)

    def _new_row(self, run_id: str, request: Body) -> Row:
        run = self._plan.changed[run_id]
        result = rows.body(self._plan.results.get(run_id))
        return rows.fixed(run) + rows.moving(run) + rows.body(request) + result

    def _insert(self, name: str, values: Sequence[Row]) -> None:
        for sql, parameters in statements(PACKAGE, name, values):
            self._db.execute(sql, parameters)


def _submits(ops: Sequence[Op]) -> Iterator[Submit]:
    for op in ops:
        if isinstance(op, Submit):
            yield op
        elif isinstance(op, Turn) and op.run is not None:
            yield op.run


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
