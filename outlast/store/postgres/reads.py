"""The reads of the shared store: each one statement on a connection of a small pool, always from the database.

Nothing is answered from memory, for others write too.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import msgspec

from outlast.errors import StoreUnavailable
from outlast.journal import CallKey, JournalRows, KeptAnswer
from outlast.runs import Event, EventKind, Run, RunStatus
from outlast.schedules import Schedule
from outlast.steps import Step, StepPage
from outlast.store import journal_rows, rows, schedule_rows, step_rows
from outlast.store.postgres.connection import Address, Pool
from outlast.store.postgres.heads import Heads
from outlast.store.postgres.statements import sql
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
from outlast.store.rows import Cells
from outlast.workers import WorkerCard, WorkerSeen

POOL = 4
"""Connections for reads and small writes; two more write, two more ring and listen."""
_LAST_ID = "\x7f"
_LATEST = 2**63 - 1
_KINDS = {kind.value: kind for kind in EventKind}


class Reads:
    """The reading half of `PostgresStore`."""

    def __init__(self, address: Address) -> None:
        self._pool = Pool(address, POOL)
        self._heads = Heads(self._pool)

    async def run(self, run_id: str) -> Run | None:
        return await self._heads.get(run_id)

    async def seqs(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        if not run_ids:
            return {}
        return {row[0]: row[1] for row in await self._pool.fetch(sql("select_seqs"), list(run_ids))}

    async def step(self, run_id: str, generation: int, key: str) -> Step | None:
        found = await self._pool.fetch(sql("select_steps"), [run_id], [generation], [key])
        return step_rows.read(found[0]) if found else None

    async def steps(self, run_id: str, generation: int, page: Page) -> StepPage:
        listed, counted = await asyncio.gather(
            self._pool.fetch(sql("list_steps"), run_id, generation, page.size, page.offset),
            self._pool.fetch(sql("count_steps"), run_id, generation),
        )
        return StepPage(tuple(map(step_rows.read, listed)), counted[0][0])

    async def by_key(self, tenant: str, session: str, key: str) -> Run | None:
        found = await self._pool.fetch(sql("select_by_key"), tenant, session, key)
        return rows.read(found[0]) if found else None

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        found = await self._pool.fetch(sql("select_events"), run_id, after, limit)
        return [Event(row[0], row[1], _KINDS[row[2]], row[3], row[4], row[5]) for row in found]

    async def logged_bytes(self, run_id: str) -> int:
        size: int = (await self._pool.fetch(sql("select_logged"), run_id))[0][0]
        return size

    async def held(self, worker_id: str) -> frozenset[str]:
        return frozenset(row[0] for row in await self._pool.fetch(sql("select_held"), worker_id))

    async def workers(self, tenant: str | None = None) -> list[WorkerSeen]:
        return [
            WorkerSeen(
                id=row[0],
                card=msgspec.json.decode(row[1], type=WorkerCard),
                started_at=row[2],
                lease_until=row[3],
                lost_at=row[4],
                runs=tuple(row[5]),
                shared_taken=row[6],
                isolated_taken=row[7],
            )
            for row in await self._pool.fetch(sql("select_workers"), tenant)
        ]

    async def next_due_at(self) -> int | None:
        at: int | None = (await self._pool.fetch(sql("next_due_at")))[0][0]
        return at

    async def next_notice_at(self, busy: Collection[str] = ()) -> int | None:
        at: int | None = (await self._pool.fetch(sql("next_notice_at"), list(busy)))[0][0]
        return at

    async def schedule(self, schedule_id: str) -> Schedule | None:
        found = await self._pool.fetch(sql("select_schedule"), schedule_id)
        return schedule_rows.read(found[0]) if found else None

    async def list_schedules(self, tenant: str, size: int, offset: int) -> ScheduleListing:
        listed, counted = await asyncio.gather(
            self._pool.fetch(sql("list_schedules"), tenant, size, offset),
            self._pool.fetch(sql("count_schedules"), tenant),
        )
        return ScheduleListing(tuple(map(schedule_rows.read, listed)), counted[0][0])

    async def next_schedules(self, limit: int) -> list[Schedule]:
        return [schedule_rows.read(row) for row in await self._pool.fetch(sql("next_schedules"), limit)]

    async def request(self, run_id: str) -> bytes | None:
        return await self._bytes("select_request", run_id)

    async def result(self, run_id: str) -> bytes | None:
        return await self._bytes("select_result", run_id)

    async def blob(self, tenant: str, digest: bytes) -> bytes | None:
        return await self._bytes("select_blob", tenant, digest)

    async def model_calls(self, run_id: str, after: int, limit: int) -> list[ModelCallSeen]:
        found = await self._pool.fetch(sql("select_model_calls"), run_id, after, limit)
        return [ModelCallSeen(*row) for row in found]

    async def journal(self, run_id: str, generation: int) -> JournalRows:
        names = "select_calls", "select_heads_of_calls", "select_pins"
        return journal_rows.read(
            *await asyncio.gather(*(self._pool.fetch(sql(name), run_id, generation) for name in names))
        )

    async def answer(self, run_id: str, generation: int, key: CallKey) -> KeptAnswer | None:
        found = await self._pool.fetch(sql("select_answer"), run_id, generation, key.hash, key.n)
        return KeptAnswer(*found[0]) if found else None

    async def chain(self, tenant: str, last: bytes) -> list[bytes]:
        return [row[0] for row in await self._pool.fetch(sql("select_chain"), tenant, last)]

    async def _bytes(self, name: str, *values: object) -> bytes | None:
        found = await self._pool.fetch(sql(name), *values)
        data: bytes | None = found[0][0] if found else None
        return data

    async def counts(self, tenant: str) -> Mapping[RunStatus, int]:
        return await self._counts(tenant, "")

    async def _counts(self, tenant: str, session: str) -> dict[RunStatus, int]:
        return (await self._counts_of(tenant, [session]))[session]

    async def _counts_of(self, tenant: str, sessions: Sequence[str]) -> dict[str, dict[RunStatus, int]]:
        counts = {session: dict.fromkeys(RunStatus, 0) for session in sessions}
        for row in await self._pool.fetch(sql("select_counts"), tenant, sessions):
            counts[row[0]][RunStatus(row[1])] = row[2]
        return counts

    async def session(self, tenant: str, session_id: str) -> SessionSeen | None:
        found = await self._pool.fetch(sql("select_session"), tenant, session_id)
        return (await self._seen(tenant, found))[0] if found else None

    async def sessions(self, tenant: str, page: Page) -> SessionListing:
        before = (
            [] if page.before is None else await self._pool.fetch(sql("select_session"), tenant, page.before)
        )
        after = (before[0][1], before[0][0]) if before else (_LATEST, "")
        listed, counted = await asyncio.gather(
            self._pool.fetch(sql("list_sessions"), tenant, *after, page.size, page.offset),
            self._pool.fetch(sql("count_sessions"), tenant, COUNT_MAX + 1),
        )
        n: int = counted[0][0]
        return SessionListing(await self._seen(tenant, listed), min(n, COUNT_MAX), n > COUNT_MAX)

    async def _seen(self, tenant: str, found: Sequence[Cells]) -> tuple[SessionSeen, ...]:
        counts = await self._counts_of(tenant, [row[0] for row in found])
        return tuple(SessionSeen(row[0], row[1], row[2], counts[row[0]]) for row in found)

    async def check_ready(self) -> None:
        if (await self._pool.fetch("SELECT pg_is_in_recovery()"))[0][0]:
            raise StoreUnavailable("The database is a standby and takes no writes.")

    async def list_runs(self, tenant: str, which: RunFilter, page: Page) -> Listing:
        listed, (total, is_lower_bound) = await asyncio.gather(
            self._listed(tenant, which, page), self._total(tenant, which)
        )
        return Listing(listed, total, is_lower_bound)

    async def _listed(self, tenant: str, which: RunFilter, page: Page) -> tuple[Run, ...]:
        name, values = _list_query(which)
        place = tenant, page.before or _LAST_ID, page.size, page.offset
        return tuple(rows.read(row) for row in await self._pool.fetch(sql(name), *place, *values))

    async def _total(self, tenant: str, which: RunFilter) -> tuple[int, bool]:
        if which.agent is None and which.framework is None and which.schedule_id is None:
            counts = await self._counts(tenant, which.session_id or "")
            return (sum(counts.values()) if which.status is None else counts[which.status]), False
        values = tenant, *_filters(which), which.schedule_id, COUNT_MAX + 1
        total: int = (await self._pool.fetch(sql("count_other"), *values))[0][0]
        return min(total, COUNT_MAX), total > COUNT_MAX


def _filters(which: RunFilter) -> tuple[str | None, str | None, str | None, str | None]:
    return which.status, which.session_id, which.agent, which.framework


def _list_query(which: RunFilter) -> tuple[str, tuple[str | None, ...]]:
    status = which.status.value if which.status else None
    if which.session_id is not None:
        return "list_by_session", (status, which.session_id, which.agent, which.framework)
    if which.schedule_id is not None:
        return "list_by_schedule", (status, which.schedule_id, which.agent, which.framework)
    if which.agent is not None or which.framework is not None:
        return "list_by_other", (status, which.agent, which.framework)
    return ("list_by_tenant", ()) if status is None else ("list_by_status", (status,))
