"""A plan as the parameters of write_plan.sql."""

from collections import Counter

from outlast.runs import Notice
from outlast.store import rows
from outlast.store.plan import CounterKey, Plan
from outlast.store.postgres.statements import columns
from outlast.store.queries import Row

_CHANGED_WIDTH = rows.MOVING_COLUMNS.count(",") + 4


def written(plan: Plan, now: int, shard: int) -> list[object]:
    """In the order of the query. What belongs to a run that is deleted with it is left out."""
    gone = plan.deleted
    changed: list[Row] = [
        (run.id, *rows.moving(run), *rows.body(plan.results.get(run.id)))
        for run in plan.changed.values()
        if run.id not in plan.born
    ]
    ended: list[Row] = [
        (a.run_id, a.number, a.id, a.worker_id, a.started_at, a.ended_at, a.end._value_)
        for a in plan.attempts
        if a.run_id not in gone
    ]
    events: list[Row] = [
        (e.run_id, e.seq, e.kind._value_, e.at, e.attempt_id, e.data)
        for e in plan.events
        if e.run_id not in gone
    ]
    counts: list[Row] = [(*key, n) for key, n in sorted(_counts(plan).items()) if n]
    return [
        list(gone),
        *columns(changed, _CHANGED_WIDTH),
        *columns(ended, 7),
        *columns(events, 6),
        *columns([_notice(notice, now) for notice in plan.notices], 12),
        shard,
        *columns(counts, 4),
    ]


def _counts(plan: Plan) -> Counter[CounterKey]:
    """Without the new runs: their insert has counted them as they now are."""
    if not plan.born:
        return plan.counts
    counts = Counter(plan.counts)
    for run in (plan.changed[run_id] for run_id in plan.born if run_id in plan.changed):
        counts[run.tenant, "", run.status] -= 1
        if run.session_id is not None:
            counts[run.tenant, run.session_id, run.status] -= 1
    return counts


def _notice(notice: Notice, now: int) -> Row:
    result = notice.result
    return (
        notice.id,
        notice.run_id,
        notice.tenant,
        notice.url,
        notice.receiver,
        notice.head,
        *rows.body(result),
        result.size if result else None,
        now,
        now,
        0,
    )
