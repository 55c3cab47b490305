"""The embedded store: SQLite in WAL mode with `synchronous=FULL`, owned by one server, which may let its worker in.

All writes go through `Writer`'s thread and its one connection; `reads.py` has the reads. A kill at any moment leaves
the last commit; SQLite recovers when the file is opened.
"""

import asyncio
import fcntl
import os
import socket
import sqlite3
from collections.abc import Collection
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeVar

from outlast.clock import Clock
from outlast.errors import ConfigError, StoreOwned, StoreUnavailable
from outlast.runs import Json
from outlast.store.lanes import NO_LIMITS
from outlast.store.migrate import refuse
from outlast.store.ops import Apply, LimitSession, Reap, Recover
from outlast.store.protocol import (
    Claimed,
    Delivery,
    Offer,
    OnCommit,
    OnRung,
    OnTold,
    Submit,
    Submitted,
    Turn,
)
from outlast.store.queries import load_queries, query
from outlast.store.rungs import rungs_of
from outlast.store.sqlite import peers
from outlast.store.sqlite.ops import (
    PACKAGE,
    beat,
    claim_notices,
    put_blob,
    statement,
)
from outlast.store.sqlite.peers import Peer
from outlast.store.sqlite.reads import Reads
from outlast.store.sqlite.schema import lag_of, migrate
from outlast.store.sqlite.sweep import Sweep
from outlast.store.sqlite.turns import Turns
from outlast.store.sqlite.writer import Committed, Writer
from outlast.transitions import Command, Transition

OLDEST_SQLITE = (3, 37, 0)
ROOM_MIN = 4 * 1024 * 1024
"""With less room on the disk than this, small commits may still succeed while submits do not."""
FREED_S = 1.0
"""How long a worker that dies with its server may hold on to the folder."""
FREED_TRIES = 50
MISSED_S = 5.0
"""How often each process looks for what it may not have been told."""
T = TypeVar("T")

# Python seeks an adapter for each None and each bytes that is bound, and makes an exception of finding none: a
# microsecond each, and a row has thirty. These give back what they get.
sqlite3.register_adapter(type(None), dict[None, None]().get)
sqlite3.register_adapter(bytes, b"".__add__)


class SqliteStore(Reads):
    """`Store` in one file, `<data_dir>/outlast.db`. Make it, `open` it, and `close` it on the same event loop.

    One process owns the folder. It may `admit` others: theirs is a store made with `guest`, the socket that they were
    given; they also have to hold the lock's descriptor, so that the folder is not free as long as one of them lives.
    """

    def __init__(
        self, data_dir: Path, clock: Clock, guest: socket.socket | None = None, *, migrates: bool = True
    ) -> None:
        """With `migrates` off it does not open unless the schema is up to date."""
        self._migrates = migrates
        self._dir = data_dir
        self._clock = clock
        self._guest = guest
        self._lock: int | None = None
        self._peers: list[Peer] = []
        self._later: asyncio.TimerHandle | None = None
        self.path = data_dir / "outlast.db"
        self.on_commit: OnCommit = lambda transitions: None
        self.on_rung: OnRung = lambda rungs: None
        self.on_told: OnTold = lambda message: None
        self.limits = NO_LIMITS
        self._relimited = False
        self._sweep = Sweep()

    async def open(self) -> None:
        """Own the data folder, migrate, and void every lease of the owner before; `StoreOwned` if it is taken."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigError(f"Python's SQLite is {sqlite3.sqlite_version}; Outlast needs 3.37 or newer.")
        if self._guest is None:
            await self._own()
        with ExitStack() as undo:
            undo.callback(self._disown)
            try:
                self._open_connections(undo)
            except sqlite3.Error as error:
                raise ConfigError(_not_opened(self.path, error)) from error
            undo.pop_all()

    def _open_connections(self, undo: ExitStack) -> None:
        load_queries(PACKAGE)
        self._make_private()
        connection = undo.enter_context(closing(self._connect()))
        self._turns = undo.enter_context(closing(Turns(self._dir)))
        if self._guest is None:
            if self._migrates:
                migrate(connection)
            refuse(lag_of(connection))
            connection.execute(query(PACKAGE, "end_leases"), (self._clock.now(),))
        else:
            self._meet(self._guest)
        self._open_reads(lambda: self._connect(read_only=True), self._turns)
        self._writer = Writer(connection, self._clock, self._turns, self._committed, lambda: self.limits)
        self._connection = connection
        self._writer.start()

    def admit(self) -> tuple[socket.socket, int]:
        """Let one more process in: the socket for its store, and the descriptor that it has to inherit and keep."""
        assert self._lock is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, peers.KIND)
        self._meet(ours)
        return theirs, self._lock

    def _say_missed(self) -> None:
        """Now and then, in case a rung was dropped."""
        if self._peers:
            self.on_rung([])
            self._later = asyncio.get_running_loop().call_later(MISSED_S, self._say_missed)

    @property
    def has_guests(self) -> bool:
        """Whether others that were admitted are still there."""
        return bool(self._peers)

    def _meet(self, end: socket.socket) -> None:
        if not self._peers:
            self._later = asyncio.get_running_loop().call_later(MISSED_S, self._say_missed)
        self._peers.append(
            Peer(end, lambda rungs: self.on_rung(rungs), lambda told: self.on_told(told), self._part)
        )

    def _part(self, peer: Peer) -> None:
        self._peers.remove(peer)
        peer.close()
        if not self._peers and self._later is not None:
            self._later.cancel()

    def _committed(self, committed: Committed) -> None:
        # Those of a run deleted in the same commit too: its agent and its readers have to hear of its end.
        transitions = [transition for transition, _ in committed.transitions]
        changed = [(transition.run, deleted) for transition, deleted in committed.transitions]
        self._heads.written(changed, committed.before, committed.after)
        if self._peers and transitions:
            rungs = rungs_of(transitions)
            for peer in self._peers:
                peer.ring(rungs)
        self.on_commit(transitions)

    async def close(self) -> None:
        """Commit what was handed in, then let the folder go."""
        await asyncio.get_running_loop().run_in_executor(None, self._writer.stop)
        if self._later is not None:
            self._later.cancel()
        for peer in list(self._peers):
            self._part(peer)
        self._close_reads()
        self._connection.close()
        self._turns.close()
        self._disown()

    async def _own(self) -> None:
        try:
            self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._dir / "outlast.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The data folder {self._dir} cannot be used: {error.strerror}. Name one that can be written with "
                "--data-dir or OUTLAST_DATA_DIR."
            ) from error
        if not await self._locked():
            self._disown()
            raise StoreOwned(
                f"Another server process owns {self._dir}: start a single one (uvicorn: --workers 1), give this one "
                "its own OUTLAST_DATA_DIR, or point all of them at one PostgreSQL with OUTLAST_DATABASE_URL."
            )

    async def _locked(self) -> bool:
        assert self._lock is not None
        for _ in range(FREED_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                await asyncio.sleep(FREED_S / FREED_TRIES)
        return False

    def _make_private(self) -> None:
        """Make the file, if it is not there yet, for our eyes only; SQLite gives its side files the same mode."""
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _disown(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        with ExitStack() as undo:
            undo.callback(connection.close)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -16000")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            undo.pop_all()
        return connection

    async def check_ready(self) -> None:
        if self._writer.refusing is not None:
            raise StoreUnavailable(f"The last commit failed: {self._writer.refusing}.")
        disk = os.statvfs(self._dir)
        if disk.f_bavail * disk.f_frsize < ROOM_MIN:
            raise StoreUnavailable(f"The disk that holds {self._dir} is full.")
        self._one(query(PACKAGE, "select_counts"), "", "")

    async def submit(self, new: Submit) -> Submitted:
        return _as(Submitted, await self._writer.do(new))

    async def apply(self, run_id: str, command: Command, tenant: str | None = None) -> Transition:
        return _as(Transition, await self._writer.do(Apply(run_id, command, tenant)))

    async def claim(self, offer: Offer) -> list[Claimed]:
        return _as(list, await self._writer.do(offer))

    async def put_blob(self, tenant: str, data: bytes) -> bytes:
        digest, write = put_blob(tenant, data)
        await self._writer.do(write)
        return digest

    async def beat(self, worker_id: str, lease_ms: int, card: Json = b"{}") -> bool:
        return _as(bool, await self._writer.do(beat(worker_id, lease_ms, card)))

    async def retire(self, worker_id: str) -> None:
        await self._writer.do(statement("retire", worker_id))

    async def recover(self) -> list[Transition]:
        recover = Recover(is_first=not self._relimited)
        recovered, _ = await asyncio.gather(self._writer.do(recover), self._writer.do(self._sweep))
        self._relimited = True
        return _as(list, recovered)

    async def turn(self, turn: Turn) -> Submitted | None:
        submitted = await self._writer.do(turn)
        return None if submitted is None else _as(Submitted, submitted)

    async def reap(self, attempt_id: str) -> None:
        await self._writer.do(Reap(attempt_id))

    async def limit_session(self, tenant: str, session_id: str, max_running: int | None) -> None:
        await self._writer.do(LimitSession((tenant, session_id), max_running))

    async def due_notices(self, limit: int, busy: Collection[str] = ()) -> list[Delivery]:
        return _as(list, await self._writer.do(claim_notices(limit, busy)))

    async def settle_notice(self, notice_id: str, *, retry_at: int | None) -> None:
        if retry_at is None:
            await self._writer.do(statement("delete_notice", notice_id))
        else:
            await self._writer.do(statement("delay_notice", notice_id, retry_at))

    def tell(self, message: bytes) -> None:
        for peer in self._peers:
            peer.tell(message)


def _as(kind: type[T], answer: object) -> T:
    """The writer answers each op with its own kind of thing."""
    assert isinstance(answer, kind)
    return answer


def _not_opened(path: Path, error: sqlite3.Error) -> str:
    if "full" in str(error):
        return f"The disk of {path} is full: {error}. Free some room and start again; the runs in it are unharmed."
    return (
        f"The runs in {path} cannot be opened: {error}. If they cannot be had back, move the file away or name another "
        "folder with --data-dir or OUTLAST_DATA_DIR."
    )
