"""The shared store: one PostgreSQL, any number of processes, each with a handful of connections.

Writes go through two lanes, submits and everything else, each with a connection of its own and a group commit;
`reads.py` has the reads, `doorbell.py` what processes tell each other. While the database is away every call
raises `StoreUnavailable`, soon; when it is back everything goes on, over new connections.

`StoreUnavailable` may also come from a commit whose answer got lost. A submit of the same run then finds itself
accepted; a command finds its run as the commit left it and is refused or `Fenced`; what a claim took unheard is handed
back with the next commit.
"""

import hashlib
from collections.abc import Collection
from typing import TypeVar

from outlast.runs import Body, Json, Notice
from outlast.store.lanes import NO_LIMITS
from outlast.store.ops import NOTICE_CLAIM_MS, Apply, LimitSession, Reap, Recover
from outlast.store.postgres.batch import Op
from outlast.store.postgres.batches import Batches
from outlast.store.postgres.connection import Address, Line, Link
from outlast.store.postgres.doorbell import Doorbell
from outlast.store.postgres.reads import Reads
from outlast.store.postgres.schema import prepare
from outlast.store.postgres.statements import PACKAGE, sql
from outlast.store.postgres.submits import HAS_LANES, Submits
from outlast.store.postgres.sweep import Sweep
from outlast.store.postgres.writer import Writer
from outlast.store.protocol import (
    RECEIVER_SHARE,
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
from outlast.store.queries import load_queries
from outlast.store.rows import Cells
from outlast.transitions import Command, Transition

SHARDS = 16
T = TypeVar("T")


class PostgresStore(Reads):
    """`Store` in a PostgreSQL. Make it, `open` it, and `close` it on the same event loop."""

    def __init__(self, url: str, *, listen: bool = True, migrates: bool = True) -> None:
        """With `listen` off it does without whatever needs a session: for poolers that hand out transactions.

        With `migrates` off it does not open unless the schema is up to date.
        """
        self._migrates = migrates
        self._address = Address(url, is_session=listen)
        super().__init__(self._address)
        self.on_commit: OnCommit = lambda transitions: None
        self.on_rung: OnRung = lambda rungs: None
        self.on_told: OnTold = lambda message: None
        self.limits = NO_LIMITS
        self._relimited = False
        self._sweeps = (Sweep("sweep_links"), Sweep("sweep_blobs"))

    async def open(self) -> None:
        """Bring the schema up to date, then write, ring and listen."""
        load_queries(PACKAGE)
        await prepare(self._address, migrates=self._migrates)
        self._doorbell = Doorbell(
            self._address, lambda rungs: self.on_rung(rungs), lambda message: self.on_told(message)
        )
        submits = Submits(_shard, lambda: self.limits)
        self._lane = Batches(_shard, lambda: self.limits, self._doorbell.ring_all)
        self._submits: Writer[Submit] = Writer(Line(self._address), submits.transact, self._committed)
        self._batches: Writer[Op] = Writer(Line(self._address), self._lane.transact, self._committed)
        self._doorbell.start()

    async def close(self) -> None:
        """Commit what was handed in, then let the connections go."""
        await self._submits.stop()
        await self._batches.stop()
        await self._doorbell.stop()
        await self._pool.close()

    def _committed(self, transitions: list[Transition]) -> None:
        self._doorbell.ring(transitions)
        self.on_commit(transitions)

    async def submit(self, new: Submit) -> Submitted:
        answer = await self._submits.do(new) if new.fork is None else HAS_LANES
        return _as(Submitted, await self._batches.do(new) if answer is HAS_LANES else answer)

    async def apply(self, run_id: str, command: Command, tenant: str | None = None) -> Transition:
        return _as(Transition, await self._batches.do(Apply(run_id, command, tenant)))

    async def claim(self, offer: Offer) -> list[Claimed]:
        return _as(list, await self._batches.do(offer))

    async def recover(self) -> list[Transition]:
        recovered = _as(list, await self._batches.do(Recover(is_first=not self._relimited)))
        self._relimited = True
        for sweep in self._sweeps:
            await sweep.go_on(self._pool)
        return recovered

    async def turn(self, turn: Turn) -> Submitted | None:
        submitted = await self._batches.do(turn)
        return None if submitted is None else _as(Submitted, submitted)

    async def put_blob(self, tenant: str, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        await self._pool.fetch(sql("put_blob"), tenant, digest, data)
        return digest

    async def beat(self, worker_id: str, lease_ms: int, card: Json = b"{}") -> bool:
        return bool(await self._pool.fetch(sql("beat"), worker_id, lease_ms, card))

    async def retire(self, worker_id: str) -> None:
        await self._pool.fetch(sql("retire"), worker_id)

    async def reap(self, attempt_id: str) -> None:
        await self._batches.do(Reap(attempt_id))

    async def limit_session(self, tenant: str, session_id: str, max_running: int | None) -> None:
        await self._batches.do(LimitSession((tenant, session_id), max_running))

    def tell(self, message: bytes) -> None:
        self._doorbell.tell(message)

    async def due_notices(self, limit: int, busy: Collection[str] = ()) -> list[Delivery]:
        claim = limit, RECEIVER_SHARE, list(busy), NOTICE_CLAIM_MS
        return [_delivery(row) for row in await self._pool.fetch(sql("claim_notices"), *claim)]

    async def settle_notice(self, notice_id: str, *, retry_at: int | None) -> None:
        if retry_at is None:
            await self._pool.fetch(sql("delete_notice"), notice_id)
        else:
            await self._pool.fetch(sql("delay_notice"), notice_id, retry_at)


def _shard(link: Link) -> int:
    """Connections that write at once rarely have the same."""
    return link.get_server_pid() % SHARDS


def _delivery(row: Cells) -> Delivery:
    result = None if row[7] is None else Body(row[7], row[5], row[6])
    return Delivery(Notice(row[0], row[1], row[2], row[3], row[4], result), row[8], row[9])


def _as(kind: type[T], answer: object) -> T:
    """A writer answers each op with its own kind of thing."""
    assert isinstance(answer, kind)
    return answer
