"""The reads of the embedded store.

By key or index they are made on the event loop's own connection: tens of microseconds, never waiting for the writer.
What may be large or slow is read in a second thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import msgspec

from outlast.errors import StoreUnavailable
from outlast.journal import CallKey, JournalRows, KeptAnswer
from outlast.runs import Event, EventKind, Run, RunStatus
from outlast.schedules import Schedule
from outlast.steps import Step, StepPage
from outlast.store import journal_rows, rows, schedule_rows
from outlast.store.protocol import (
    COUNT_MAX,
    Listing,
    ModelCallSeen,
    Page,
    RunFilter,
    ScheduleListing,
    SessionListing,
    SessionSeen,
)
from outlast.store.queries import Value, query
from outlast.store.sqlite import steps
from outlast.store.sqlite.heads import Heads
from outlast.store.sqlite.ops import PACKAGE, names
from outlast.store.sqlite.turns import Turns
from outlast.workers import WorkerCard, WorkerSeen

WARM_HEADS = 1000
_LAST_ID = "\x7f"
_LATEST = 2**63 - 1
_KINDS = {kind.value: kind for kind in EventKind}
T = TypeVar("T")


class Reads:
    """The reading half of `SqliteStore`."""

    def _open_reads(self, connect: Callable[[], sqlite3.Connection], turns: Turns) -> None:
        self._heads = Heads(turns)
        self._reads = connect()
        self._slow_reads = connect()
        self._slow = ThreadPoolExecutor(1, "outlast-reader")
        self._heads.warm(self._newest_heads)

    def _newest_heads(self) -> list[Run]:
        found = self._reads.execute(_head("select_newest"), (WARM_HEADS,)).fetchall()
        return [rows.read(row) for row in reversed(found)]

    def _close_reads(self) -> None:
        self._slow.shutdown()
        self._reads.close()
        self._slow_reads.close()

    async def run(self, run_id: str) -> Run | None:
        return self._head(run_id)

    def _head(self, run_id: str) -> Run | None:
        return self._heads.get(run_id, self._read_head)

    def _read_head(self, run_id: str) -> Run | None:
        row = self._one(_head("select_head"), run_id)
        return None if row is None else rows.read(row)

    async def seqs(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        sql = query(PACKAGE, "select_seqs")
        return dict(_available(lambda: self._reads.execute(sql, (names(run_ids),)).fetchall()))

    async def step(self, run_id: str, generation: int, key: str) -> Step | None:
        found = _available(lambda: steps.find(self._reads, [(run_id, generation, key)]))
        return found[0] if found else None

    async def steps(self, run_id: str, generation: int, page: Page) -> StepPage:
        return await self._slowly(lambda db: steps.listed(db, run_id, generation, page))

    async def by_key(self, tenant: str, session: str, key: str) -> Run | None:
        row = self._one(_head("select_by_key"), tenant, session, key)
        return None if row is None else rows.read(row)

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        found = _available(lambda: self._reads.execute(_events_sql(), (run_id, after, limit)).fetchall())
        return [Event(row[0], row[1], _KINDS[row[2]], row[3], row[4], row[5]) for row in found]

    async def session(self, tenant: str, session_id: str) -> SessionSeen | None:
        row = self._one(query(PACKAGE, "select_session"), tenant, session_id)
        return None if row is None else SessionSeen(row[0], row[1], row[2], self._counts(tenant, session_id))

    async def sessions(self, tenant: str, page: Page) -> SessionListing:
        total = self._one(query(PACKAGE, "count_sessions"), tenant, COUNT_MAX + 1)
        last = (
            None if page.before is None else self._one(query(PACKAGE, "select_session"), tenant, page.before)
        )
        before = (_LATEST, "") if last is None else (last[1], last[0])
        sql = query(PACKAGE, "list_sessions")
        found = _available(
            lambda: self._reads.execute(sql, (tenant, *before, page.size, page.offset)).fetchall()
        )
        seen = tuple(SessionSeen(row[0], row[1], row[2], self._counts(tenant, row[0])) for row in found)
        n = total[0] if total is not None else 0
        return SessionListing(seen, min(n, COUNT_MAX), total_is_lower_bound=n > COUNT_MAX)

    async def logged_bytes(self, run_id: str) -> int:
        sql = query(PACKAGE, "select_logged")
        size: int = await self._slowly(lambda db: db.execute(sql, (run_id,)).fetchone()[0])
        return size

    async def held(self, worker_id: str) -> frozenset[str]:
        sql = query(PACKAGE, "select_held")
        return frozenset(
            row[0] for row in _available(lambda: self._reads.execute(sql, (worker_id,)).fetchall())
        )

    async def workers(self, tenant: str | None = None) -> list[WorkerSeen]:
        sql = query(PACKAGE, "select_workers")
        found = _available(lambda: self._reads.execute(sql, (tenant,)).fetchall())
        return [_worker(row) for row in found]

    async def next_due_at(self) -> int | None:
        row = self._one(query(PACKAGE, "next_due_at"))
        at: int | None = row[0] if row is not None else None
        return at

    async def schedule(self, schedule_id: str) -> Schedule | None:
        row = self._one(_schedule("select_schedule"), schedule_id)
        return None if row is None else schedule_rows.read(row)

    async def list_schedules(self, tenant: str, size: int, offset: int) -> ScheduleListing:
        found = await self._slowly(
            lambda db: db.execute(_schedule("list_schedules"), (tenant, size, offset)).fetchall()
        )
        total = self._one(query(PACKAGE, "count_schedules"), tenant)
        return ScheduleListing(tuple(map(schedule_rows.read, found)), total[0] if total is not None else 0)

    async def next_schedules(self, limit: int) -> list[Schedule]:
        sql = _schedule("next_schedules")
        found = _available(lambda: self._reads.execute(sql, (limit,)).fetchall())
        return [schedule_rows.read(row) for row in found]

    async def next_notice_at(self, busy: Collection[str] = ()) -> int | None:
        row = self._one(query(PACKAGE, "next_notice_at"), names(busy))
        at: int | None = row[0] if row is not None else None
        return at

    async def counts(self, tenant: str) -> Mapping[RunStatus, int]:
        return self._counts(tenant, "")

    def _counts(self, tenant: str, session: str) -> dict[RunStatus, int]:
        sql = query(PACKAGE, "select_counts")
        found = _available(lambda: self._reads.execute(sql, (tenant, session)).fetchall())
        return dict.fromkeys(RunStatus, 0) | {RunStatus(name): n for name, n in found}

    async def list_runs(self, tenant: str, which: RunFilter, page: Page) -> Listing:
        parameters = _parameters(tenant, which, page)
        if which.agent is None and which.framework is None and which.schedule_id is None:
            sql = query(PACKAGE, _list_query(which))
            found = _available(lambda: self._reads.execute(sql, parameters).fetchall())
            counts = self._counts(tenant, which.session_id or "")
            total = sum(counts.values()) if which.status is None else counts[which.status]
            return Listing(self._listed(found, which), total)
        return await self._slowly(lambda db: self._list_slowly(db, which, parameters))

    def _list_slowly(
        self, db: sqlite3.Connection, which: RunFilter, parameters: Mapping[str, Value]
    ) -> Listing:
        found = db.execute(query(PACKAGE, _list_query(which)), parameters).fetchall()
        total: int = db.execute(query(PACKAGE, "count_other"), parameters).fetchone()[0]
        runs = [rows.read(db.execute(_head("select_head"), row).fetchone()) for row in found]
        return Listing(tuple(runs), min(total, COUNT_MAX), total_is_lower_bound=total > COUNT_MAX)

    def _listed(self, found: list[tuple[str]], which: RunFilter) -> tuple[Run, ...]:
        """The heads of the found ids; one that has moved on since the index was read is left out of its old status."""
        heads = [head for (run_id,) in found if (head := self._head(run_id)) is not None]
        return tuple(head for head in heads if which.status is None or head.status is which.status)

    async def request(self, run_id: str) -> bytes | None:
        return await self._slowly(lambda db: _read_body(db, "select_request", run_id))

    async def result(self, run_id: str) -> bytes | None:
        return await self._slowly(lambda db: _read_body(db, "select_result", run_id))

    async def blob(self, tenant: str, digest: bytes) -> bytes | None:
        return await self._slowly(lambda db: _read_blob(db, tenant, digest))

    async def model_calls(self, run_id: str, after: int, limit: int) -> list[ModelCallSeen]:
        sql = query(PACKAGE, "select_model_calls")
        found = await self._slowly(lambda db: db.execute(sql, (run_id, after, limit)).fetchall())
        return [ModelCallSeen(*row) for row in found]

    async def journal(self, run_id: str, generation: int) -> JournalRows:
        return await self._slowly(lambda db: _read_journal(db, (run_id, generation)))

    async def answer(self, run_id: str, generation: int, key: CallKey) -> KeptAnswer | None:
        place = run_id, generation, key.hash, key.n
        row = await self._slowly(lambda db: db.execute(query(PACKAGE, "select_answer"), place).fetchone())
        return None if row is None else KeptAnswer(row[0], bool(row[1]), row[2])

    async def chain(self, tenant: str, last: bytes) -> list[bytes]:
        sql = query(PACKAGE, "select_chain")
        return [row[0] for row in await self._slowly(lambda db: db.execute(sql, (tenant, last)).fetchall())]

    async def _slowly(self, read: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._slow, lambda: _available(lambda: read(self._slow_reads)))

    def _one(self, sql: str, *parameters: Value) -> tuple | None:  # type: ignore[type-arg]  # any columns
        row: tuple | None = _available(lambda: self._reads.execute(sql, parameters).fetchone())  # type: ignore[type-arg]
        return row


def _available(read: Callable[[], T]) -> T:
    try:
        return read()
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"The store could not be read: {error}. Try again.") from error


def _worker(row: tuple) -> WorkerSeen:  # type: ignore[type-arg]  # columns of select_workers.sql
    return WorkerSeen(
        id=row[0],
        card=msgspec.json.decode(row[1], type=WorkerCard),
        started_at=row[2],
        lease_until=row[3],
        lost_at=row[4],
        runs=tuple(sorted(msgspec.json.decode(row[5], type=list[str]))),
        shared_taken=row[6],
        isolated_taken=row[7],
    )


def _read_body(db: sqlite3.Connection, name: str, run_id: str) -> bytes | None:
    row = db.execute(query(PACKAGE, name), (run_id,)).fetchone()
    if row is None:
        return None
    tenant, inline, digest = row
    return inline if digest is None else _read_blob(db, tenant, digest)


def _read_journal(db: sqlite3.Connection, place: tuple[str, int]) -> JournalRows:
    names = "select_calls", "select_heads_of_calls", "select_pins"
    return journal_rows.read(*(db.execute(query(PACKAGE, name), place).fetchall() for name in names))


def _read_blob(db: sqlite3.Connection, tenant: str, digest: bytes) -> bytes | None:
    row = db.execute(query(PACKAGE, "select_blob"), (tenant, digest)).fetchone()
    data: bytes | None = row[0] if row is not None else None
    return data


def _list_query(which: RunFilter) -> str:
    if which.session_id is not None:
        return "list_by_session"
    if which.schedule_id is not None:
        return "list_by_schedule"
    if which.agent is not None or which.framework is not None:
        return "list_by_other"
    return "list_by_tenant" if which.status is None else "list_by_status"


def _parameters(tenant: str, which: RunFilter, page: Page) -> dict[str, Value]:
    return {
        "tenant": tenant,
        "status": which.status.value if which.status else None,
        "session_id": which.session_id,
        "agent": which.agent,
        "framework": which.framework,
        "schedule_id": which.schedule_id,
        "before": page.before or _LAST_ID,
        "size": page.size,
        "offset": page.offset,
        "most": COUNT_MAX + 1,
    }


@cache
def _head(name: str) -> str:
    return query(PACKAGE, name).replace(":head", rows.HEAD_COLUMNS)


@cache
def _schedule(name: str) -> str:
    return query(PACKAGE, name).replace(":schedule", schedule_rows.SCHEDULE_COLUMNS)


def _events_sql() -> str:
    return query(PACKAGE, "select_events")
