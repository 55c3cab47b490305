"""The embedded store: SQLite in WAL mode with `synchronous=FULL`, owned by one server process.

All writes go through `Writer`'s thread and its one connection. Reads by key or index are made on the event loop's own
connection (tens of microseconds, never waiting for the writer); what may be large or slow is read in a second
thread. A kill at any moment leaves the last commit; SQLite recovers when the file is opened.
"""

import asyncio
import builtins
import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from outlast.clock import Clock
from outlast.errors import ConfigError, StoreOwned, StoreUnavailable
from outlast.runs import Event, EventKind, Json, Run, RunStatus
from outlast.store import rows
from outlast.store.migrate import CODE_VERSION, pending
from outlast.store.protocol import (
    COUNT_MAX,
    Claimed,
    Delivery,
    Listing,
    Offer,
    OnCommit,
    OnRung,
    OnTold,
    Page,
    RunFilter,
    Submit,
    Submitted,
)
from outlast.store.queries import Value, query
from outlast.store.sqlite.ops import (
    PACKAGE,
    Apply,
    Recover,
    beat,
    claim_notices,
    names,
    put_blob,
    statement,
)
from outlast.store.sqlite.sweep import Sweep
from outlast.store.sqlite.writer import Writer
from outlast.transitions import Command, Transition
from outlast.workers import WorkerCard, WorkerSeen

OLDEST_SQLITE = (3, 37, 0)
HEADS_MAX = 10_000
"""Heads of recently written runs kept in memory (about 1.5 KiB each); the writer keeps them right."""
WARM_HEADS = 1000
_LAST_ID = "\x7f"
_KINDS = {kind.value: kind for kind in EventKind}
T = TypeVar("T")

# Python seeks an adapter for each None and each bytes that is bound, and makes an exception of finding none: a
# microsecond each, and a row has thirty. These give back what they get.
sqlite3.register_adapter(type(None), dict[None, None]().get)
sqlite3.register_adapter(bytes, b"".__add__)


class SqliteStore:
    """`Store` in one file, `<data_dir>/outlast.db`. Make it, `open` it, and `close` it on the same event loop."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._dir = data_dir
        self._clock = clock
        self._heads: dict[str, Run] = {}
        self._lock: int | None = None
        self.path = data_dir / "outlast.db"
        self.on_commit: OnCommit = lambda transitions: None
        self.on_rung: OnRung = lambda rungs: None
        self.on_told: OnTold = lambda message: None
        self._sweep = Sweep()

    async def open(self) -> None:
        """Own the data folder, migrate, and void every lease of the owner before; `StoreOwned` if it is taken."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigError(f"Python's SQLite is {sqlite3.sqlite_version}; Outlast needs 3.37 or newer.")
        self._own()
        try:
            self._open_connections()
        except sqlite3.Error as error:
            self._disown()
            raise ConfigError(
                f"The runs in {self.path} cannot be opened: {error}. If they cannot be had back, move the file away or "
                "name another folder with --data-dir or OUTLAST_DATA_DIR."
            ) from error
        except BaseException:
            self._disown()
            raise

    def _open_connections(self) -> None:
        connection = self._connect()
        _migrate(connection)
        connection.execute(query(PACKAGE, "end_leases"), (self._clock.now(),))
        self._reads = self._connect(read_only=True)
        self._slow_reads = self._connect(read_only=True)
        self._slow = ThreadPoolExecutor(1, "outlast-reader")
        found = self._reads.execute(_head("select_newest"), (WARM_HEADS,)).fetchall()
        self._heads.update((row[0], rows.read(row)) for row in reversed(found))
        self._writer = Writer(
            connection, self._clock, self._heads, HEADS_MAX, lambda told: self.on_commit(told)
        )
        self._connection = connection
        self._writer.start()

    async def close(self) -> None:
        """Commit what was handed in, then let the folder go."""
        await asyncio.get_running_loop().run_in_executor(None, self._writer.stop)
        self._slow.shutdown()
        for connection in (self._reads, self._slow_reads, self._connection):
            connection.close()
        self._disown()

    def _own(self) -> None:
        try:
            self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._dir / "outlast.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The data folder {self._dir} cannot be used: {error.strerror}. Name one that can be written with "
                "--data-dir or OUTLAST_DATA_DIR."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._disown()
            raise StoreOwned(
                f"Another server process owns {self._dir}: start a single one (uvicorn: --workers 1), give this one "
                "its own OUTLAST_DATA_DIR, or point all of them at one PostgreSQL with OUTLAST_DATABASE_URL."
            ) from None

    def _disown(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16000")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection

    # Writes.

    async def submit(self, new: Submit) -> Submitted:
        return _as(Submitted, await self._writer.do(new))

    async def apply(self, run_id: str, command: Command, tenant: str | None = None) -> Transition:
        return _as(Transition, await self._writer.do(Apply(run_id, command, tenant)))

    async def claim(self, offer: Offer) -> builtins.list[Claimed]:
        return _as(list, await self._writer.do(offer))

    async def put_blob(self, tenant: str, data: bytes) -> bytes:
        digest, write = put_blob(tenant, data)
        await self._writer.do(write)
        return digest

    async def beat(self, worker_id: str, lease_ms: int, card: Json = b"{}") -> bool:
        return _as(bool, await self._writer.do(beat(worker_id, lease_ms, card)))

    async def retire(self, worker_id: str) -> None:
        await self._writer.do(statement("retire", worker_id))

    async def recover(self) -> builtins.list[Transition]:
        recovered, _ = await asyncio.gather(self._writer.do(Recover()), self._writer.do(self._sweep))
        return _as(list, recovered)

    async def due_notices(self, limit: int, busy: Collection[str] = ()) -> builtins.list[Delivery]:
        return _as(list, await self._writer.do(claim_notices(limit, busy)))

    async def settle_notice(self, notice_id: str, *, retry_at: int | None) -> None:
        if retry_at is None:
            await self._writer.do(statement("delete_notice", notice_id))
        else:
            await self._writer.do(statement("delay_notice", notice_id, retry_at))

    def tell(self, message: bytes) -> None:
        """There is no other process."""

    # Reads.

    async def run(self, run_id: str) -> Run | None:
        return self._head(run_id)

    def _head(self, run_id: str) -> Run | None:
        head = self._heads.get(run_id)
        if head is not None:
            return head
        row = self._one(_head("select_head"), run_id)
        return None if row is None else rows.read(row)

    async def seqs(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        sql = query(PACKAGE, "select_seqs")
        return dict(_available(lambda: self._reads.execute(sql, (names(run_ids),)).fetchall()))

    async def by_key(self, tenant: str, session: str, key: str) -> Run | None:
        row = self._one(_head("select_by_key"), tenant, session, key)
        return None if row is None else rows.read(row)

    async def events(self, run_id: str, after: int, limit: int) -> builtins.list[Event]:
        found = _available(lambda: self._reads.execute(_events_sql(), (run_id, after, limit)).fetchall())
        return [Event(row[0], row[1], _KINDS[row[2]], row[3], row[4], row[5]) for row in found]

    async def held(self, worker_id: str) -> frozenset[str]:
        sql = query(PACKAGE, "select_held")
        return frozenset(
            row[0] for row in _available(lambda: self._reads.execute(sql, (worker_id,)).fetchall())
        )

    async def workers(self) -> builtins.list[WorkerSeen]:
        found = _available(lambda: self._reads.execute(query(PACKAGE, "select_workers")).fetchall())
        return [_worker(row) for row in found]

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
        if which.agent is None and which.framework is None:
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

    def _listed(self, found: builtins.list[tuple[str]], which: RunFilter) -> tuple[Run, ...]:
        """The heads of the found ids; one that has moved on since the index was read is left out of its old status."""
        heads = [head for (run_id,) in found if (head := self._head(run_id)) is not None]
        return tuple(head for head in heads if which.status is None or head.status is which.status)

    async def request(self, run_id: str) -> bytes | None:
        return await self._slowly(lambda db: _read_body(db, "select_request", run_id))

    async def result(self, run_id: str) -> bytes | None:
        return await self._slowly(lambda db: _read_body(db, "select_result", run_id))

    async def blob(self, tenant: str, digest: bytes) -> bytes | None:
        return await self._slowly(lambda db: _read_blob(db, tenant, digest))

    async def _slowly(self, read: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._slow, lambda: _available(lambda: read(self._slow_reads)))

    def _one(self, sql: str, *parameters: Value) -> tuple | None:  # type: ignore[type-arg]  # any columns
        row: tuple | None = _available(lambda: self._reads.execute(sql, parameters).fetchone())  # type: ignore[type-arg]
        return row


def _migrate(connection: sqlite3.Connection) -> None:
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema'").fetchone()
    version, compatible = (
        connection.execute("SELECT version, oldest_compatible_code FROM schema").fetchone()
        if known
        else (0, 0)
    )
    for migration in pending(PACKAGE, version, compatible):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration.sql}; DELETE FROM schema; "
            f"INSERT INTO schema VALUES ({migration.version}, {CODE_VERSION}); COMMIT"
        )


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
        runs=tuple(msgspec.json.decode(row[5], type=list[str])),
    )


def _as(kind: type[T], answer: object) -> T:
    """The writer answers each op with its own kind of thing."""
    assert isinstance(answer, kind)
    return answer


def _read_body(db: sqlite3.Connection, name: str, run_id: str) -> bytes | None:
    row = db.execute(query(PACKAGE, name), (run_id,)).fetchone()
    if row is None:
        return None
    tenant, inline, digest = row
    return inline if digest is None else _read_blob(db, tenant, digest)


def _read_blob(db: sqlite3.Connection, tenant: str, digest: bytes) -> bytes | None:
    row = db.execute(query(PACKAGE, "select_blob"), (tenant, digest)).fetchone()
    data: bytes | None = row[0] if row is not None else None
    return data


def _list_query(which: RunFilter) -> str:
    if which.session_id is not None:
        return "list_by_session"
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
        "before": page.before or _LAST_ID,
        "size": page.size,
        "offset": page.offset,
        "most": COUNT_MAX + 1,
    }


@cache
def _head(name: str) -> str:
    return query(PACKAGE, name).replace(":head", rows.HEAD_COLUMNS)


def _events_sql() -> str:
    return query(PACKAGE, "select_events")
