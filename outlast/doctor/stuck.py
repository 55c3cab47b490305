"""What waits and will not go on by itself."""

from collections.abc import Iterable, Sequence

import msgspec

from outlast.doctor.findings import Finding, ago, note, wrong
from outlast.store.snapshot import Snapshot
from outlast.workers import WorkerCard

LOOKED_AT = 50_000
TAKEOVER_MS = 10_000
"""After the end of a lease; somebody takes runs back every second."""
DUE_MS = 30_000
NOTICE_MS = 300_000
"""A notice that is being delivered is due again in a minute."""
SKEW_MS = 2_000

_WORKERS = "SELECT id, card, lease_until FROM workers WHERE lost_at IS NULL"
_READY = """
SELECT kind, runner, queue, count(*), min(order_at) FROM (
    SELECT kind, runner, queue, order_at FROM runs WHERE :ready LIMIT ?1
) AS found
GROUP BY kind, runner, queue
ORDER BY kind, runner, queue
"""
_ORPHANS = """
SELECT runs.id, runs.worker_id FROM runs LEFT JOIN workers ON workers.id = runs.worker_id
WHERE runs.worker_id IS NOT NULL
  AND (workers.id IS NULL OR workers.lost_at < ?1 OR workers.lease_until < ?1)
ORDER BY runs.id
LIMIT 1000
"""
_DUE = "SELECT count(*), min(due_at) FROM (SELECT due_at FROM runs WHERE due_at < ?1 LIMIT ?2) AS found"
_NOTICES = """
SELECT receiver, count(*), min(due_at) FROM (
    SELECT receiver, due_at FROM outbox WHERE due_at < ?1 LIMIT ?2
) AS found
GROUP BY receiver
ORDER BY receiver
LIMIT 20
"""
_SCHEDULES = "SELECT count(*), min(next_fire_at) FROM schedules WHERE next_fire_at < ?1"


class _Live(msgspec.Struct, frozen=True):
    id: str
    card: WorkerCard
    lease_until: int


async def _live(snapshot: Snapshot) -> list[_Live]:
    rows = await snapshot.rows(_WORKERS)
    workers = [_Live(str(row[0]), _card(row[1]), _number(row[2])) for row in rows]
    return [worker for worker in workers if worker.lease_until > snapshot.now]


def _card(cell: object) -> WorkerCard:
    assert isinstance(cell, bytes)
    return msgspec.json.decode(cell, type=WorkerCard)


def _number(cell: object) -> int:
    assert isinstance(cell, int)
    return cell


async def ready_runs(snapshot: Snapshot) -> Sequence[Finding]:
    """Runs that could be claimed, and that no live worker would claim."""
    workers = [worker.card for worker in await _live(snapshot) if not worker.card.is_draining]
    found = []
    for kind, runner, queue, count, oldest in await snapshot.rows(_READY, LOOKED_AT):
        if not any(_takes(card, str(kind), str(runner), str(queue)) for card in workers):
            runs = f"{count} run{'s' if count != 1 else ''} of runner {runner} ({kind}) in queue {queue}"
            found.append(
                wrong(
                    "stuck",
                    f"{runs} wait for a worker, and none that lives would take them; the first in line "
                    f"since {ago(max(0, snapshot.now - _number(oldest)))}.",
                    _start_one(workers, str(runner), str(queue)),
                    f"{kind} {runner} {queue}",
                )
            )
    return found


def _takes(card: WorkerCard, kind: str, runner: str, queue: str) -> bool:
    places = card.isolated if kind == "isolated" else card.shared
    return places > 0 and runner in card.runners and (card.queues is None or queue in card.queues)


def _start_one(workers: Iterable[WorkerCard], runner: str, queue: str) -> str:
    if not any(True for _ in workers):
        return "No worker lives: start `outlast serve`, or on PostgreSQL `outlast worker`."
    return f"Start a worker that has the runner {runner}: `outlast worker --queue {queue}`."


async def orphans(snapshot: Snapshot) -> Sequence[Finding]:
    """Runs whose worker is gone, and that nobody has taken back."""
    rows = await snapshot.rows(_ORPHANS, snapshot.now - TAKEOVER_MS)
    return [
        wrong(
            "stuck",
            f"Run {run_id} is held by worker {worker_id}, whose lease has ended or who is not known.",
            "Any living server or worker takes such runs back within seconds: start one, or see what its log says.",
            str(run_id),
        )
        for run_id, worker_id in rows
    ]


async def overdue_runs(snapshot: Snapshot) -> Sequence[Finding]:
    """Runs that were to start, or to be tried again, at a time that has passed."""
    ((count, oldest),) = await snapshot.rows(_DUE, snapshot.now - DUE_MS, LOOKED_AT)
    if not count:
        return []
    return [
        wrong(
            "stuck",
            f"{_at_least(count)} runs are not ready though due, the first since {ago(snapshot.now - _number(oldest))}.",
            "Any living server or worker readies them at their time: start one, or see what its log says.",
            "due runs",
        )
    ]


async def notices(snapshot: Snapshot) -> Sequence[Finding]:
    """Webhook notices that should have been tried long ago."""
    rows = await snapshot.rows(_NOTICES, snapshot.now - NOTICE_MS, LOOKED_AT)
    return [
        wrong(
            "stuck",
            f"{_at_least(count)} webhook notices for {receiver} are overdue, the first since "
            f"{ago(snapshot.now - _number(due_at))}.",
            "Servers deliver them (workers do not): see that one runs, and whether this receiver answers slowly.",
            str(receiver),
        )
        for receiver, count, due_at in rows
    ]


async def schedules(snapshot: Snapshot) -> Sequence[Finding]:
    """Schedules whose time has passed."""
    ((count, oldest),) = await snapshot.rows(_SCHEDULES, snapshot.now - DUE_MS)
    if not count:
        return []
    return [
        wrong(
            "stuck",
            f"{count} schedules should have fired, the first {ago(snapshot.now - _number(oldest))} ago.",
            "Servers fire them (workers do not): see that one runs, and what its log says.",
            "schedules",
        )
    ]


async def clocks(snapshot: Snapshot) -> Sequence[Finding]:
    """Workers whose clock is not the store's."""
    found = []
    for worker in await _live(snapshot):
        skew = worker.card.at - (worker.lease_until - worker.card.lease_ms)
        if worker.card.lease_ms and abs(skew) > SKEW_MS:
            says = (
                f"The clock of worker {worker.card.name} on {worker.card.host} is {abs(skew) / 1000:.1f} s "
            )
            found.append(
                note(
                    "clock",
                    f"{says}{'ahead of' if skew > 0 else 'behind'} the store's.",
                    "Leases go by the store's clock and do not mind; times in logs do. Let NTP put it right.",
                )
            )
    return found


def _at_least(count: object) -> str:
    return f"at least {count}" if count == LOOKED_AT else str(count)


CHECKS = (ready_runs, orphans, overdue_runs, notices, schedules, clocks)
