"""Runs as the wire shows them. Pure: a head goes in, JSON comes out."""

from collections.abc import Sequence

import msgspec

from outlast.api.schemas import (
    Accepted,
    Cancelled,
    ListView,
    PlacesView,
    ProgressView,
    ResultView,
    ScheduleListView,
    ScheduleView,
    SessionListView,
    SessionView,
    StatusView,
    WorkerListView,
    WorkerView,
)
from outlast.clock import iso
from outlast.runs import DEFAULT_QUEUE, NO_BUDGET, Progress, Run, RunState
from outlast.schedules import Schedule
from outlast.store.protocol import Listing, ScheduleListing, SessionListing, SessionSeen
from outlast.workers import WorkerSeen

RETRY_AFTER_S = 1
"""What a client should let pass between two polls; `?wait=` saves it the polling."""
INLINE_RESULT = 8 * 1024 * 1024
"""Bytes up to which a result stands inside an answer or an event."""
NAMED_MAX = 100
"""Runs of one worker that are named; a worker may have thousands."""
RENDERED_MAX = 4096
"""Heads of which the JSON is kept, about 0.6 KiB each."""

encode = msgspec.json.Encoder().encode
_rendered: dict[str, tuple[Run, bytes]] = {}
_NO_PROGRESS = Progress()
_AT_START = ProgressView(0)


def accepted(run: Run, url: str, *, replayed: bool = False) -> bytes:
    """The 202's body; in a batch it also says what is a header of a single one."""
    return encode(Accepted(run.id, run.status, iso(run.created_at), url, f"{url}/stream", replayed))


def status(run: Run) -> bytes:
    """A run's head for status and list; made once for as long as the head stays the same value."""
    known = _rendered.get(run.id)
    if known is not None and known[0] is run:
        return known[1]
    json = encode(_view(run))
    if len(_rendered) >= RENDERED_MAX:
        _rendered.clear()
    _rendered[run.id] = (run, json)
    return json


def _view(run: Run) -> StatusView:
    final = run.finished_at is not None
    return StatusView(
        job_id=run.id,
        status=run.status,
        progress=_progress(run.progress),
        created_at=iso(run.created_at),
        framework=run.framework,
        runner=run.runner,
        timeout=run.timeout_s,
        attempt=run.attempt,
        run_at=iso(run.due_at) if run.due_at is not None else None,
        started_at=iso(run.started_at) if run.started_at is not None else None,
        completed_at=iso(run.finished_at) if run.finished_at is not None else None,
        duration_seconds=run.executed_ms / 1000 if final else None,
        session_id=run.session_id,
        agent=run.agent,
        schedule_id=run.schedule_id,
        forked_from=run.forked_from,
        queue=run.queue if run.queue != DEFAULT_QUEUE else None,
        blocked_by=run.blocked_by,
        error=run.error.message if run.error else None,
        error_code=run.error.code if run.error else None,
        retry_after=None if final else RETRY_AFTER_S,
        usage=run.usage.spent,
        budget=None if run.budget == NO_BUDGET else run.budget.allowed,
        waiting=_waiting(run),
        metadata=run.metadata,
    )


def _progress(progress: Progress) -> ProgressView:
    if progress is _NO_PROGRESS or progress == _NO_PROGRESS:
        return _AT_START
    return ProgressView(
        progress.percentage, progress.current_step, progress.steps_completed, progress.steps_total
    )


def _waiting(run: Run) -> msgspec.Raw | None:
    if run.state is not RunState.WAITING:
        return None
    kind = encode({"kind": run.waiting_kind or ""})
    return msgspec.Raw(merged(kind, bytes(run.waiting or b"{}")))


def listing(found: Listing, page: int, page_size: int, *, more: bool) -> bytes:
    """A page of what the store found; the cursor is there while there is, or may be, another."""
    shown = found.runs[:page_size]
    return encode(
        ListView(
            jobs=[msgspec.Raw(status(run)) for run in shown],
            total=found.total,
            page=page,
            page_size=page_size,
            total_is_lower_bound=found.total_is_lower_bound,
            next_cursor=shown[-1].id if more and shown else None,
        )
    )


def cancelled(run: Run) -> bytes:
    return encode(Cancelled(run.id, run.status, iso(_finished_at(run))))


def result(run: Run, json: bytes | None, url: str) -> bytes:
    """The result's answer; without `json` it names the address instead."""
    return encode(
        ResultView(
            job_id=run.id,
            status=run.status,
            duration_seconds=run.executed_ms / 1000,
            created_at=iso(run.created_at),
            completed_at=iso(_finished_at(run)),
            result=None if json is None else msgspec.Raw(json),
            result_url=url if json is None else None,
            result_size=run.result_size if json is None else None,
            usage=run.usage.spent,
        )
    )


def schedule(shown: Schedule) -> bytes:
    return encode(_schedule(shown))


def schedules(found: ScheduleListing, page: int, page_size: int) -> bytes:
    return encode(ScheduleListView([_schedule(one) for one in found.schedules], found.total, page, page_size))


def _schedule(shown: Schedule) -> ScheduleView:
    return ScheduleView(
        schedule_id=shown.id,
        name=shown.name,
        cron=shown.cron,
        timezone=shown.timezone,
        missed=shown.missed,
        paused=shown.paused,
        run=msgspec.Raw(shown.run),
        created_at=iso(shown.created_at),
        next_fire_at=_when(shown.next_fire_at),
        last_fire_at=_when(shown.last_fire_at),
        last_run_id=shown.last_run_id,
        last_error=shown.last_error,
    )


def session(seen: SessionSeen) -> bytes:
    return encode(_session(seen))


def sessions(found: SessionListing, page: int, page_size: int) -> bytes:
    """A page of one more than is shown: that one says whether there is another."""
    shown = found.sessions[:page_size]
    return encode(
        SessionListView(
            sessions=[_session(seen) for seen in shown],
            total=found.total,
            page=page,
            page_size=page_size,
            total_is_lower_bound=found.total_is_lower_bound,
            next_cursor=shown[-1].id if len(found.sessions) > page_size else None,
        )
    )


def _session(seen: SessionSeen) -> SessionView:
    return SessionView(
        session_id=seen.id,
        created_at=iso(seen.created_at),
        total_jobs=sum(seen.counts.values()),
        by_status={status.value: n for status, n in seen.counts.items()},
        max_running=seen.max_running,
    )


def workers(found: Sequence[WorkerSeen]) -> bytes:
    return encode(WorkerListView([_worker(seen) for seen in found]))


def _worker(seen: WorkerSeen) -> WorkerView:
    card = seen.card
    return WorkerView(
        worker_id=seen.id,
        name=card.name,
        host=card.host,
        pid=card.pid,
        version=card.version,
        state=seen.state,
        started_at=iso(seen.started_at),
        lease_until=iso(seen.lease_until),
        lost_at=_when(seen.lost_at),
        runners=list(card.runners),
        queues=None if card.queues is None else list(card.queues),
        has_model=card.has_model,
        shared=PlacesView(card.shared, seen.shared_taken),
        isolated=PlacesView(card.isolated, seen.isolated_taken),
        running=len(seen.runs),
        job_ids=list(seen.runs[:NAMED_MAX]),
    )


def _when(at: int | None) -> str | None:
    return None if at is None else iso(at)


def _finished_at(run: Run) -> int:
    assert run.finished_at is not None
    return run.finished_at


def merged(first: bytes, second: bytes) -> bytes:
    """Two JSON objects as one, spliced without reading them."""
    if len(second) <= 2:
        return first
    return first[:-1] + (b"," if len(first) > 2 else b"") + second[1:]
