"""How a run is born: what a submit has settled, and the run that this makes. Pure."""

import hashlib
from collections.abc import Mapping

import msgspec

from outlast.errors import InvalidBody, RunActive
from outlast.journal import Fork
from outlast.runs import (
    DEFAULT_QUEUE,
    NO_BUDGET,
    Budget,
    Caller,
    Isolation,
    JournalMode,
    JsonObject,
    Retry,
    Run,
    RunRequest,
    RunState,
)

MAX_AHEAD_S = 366 * 86_400
"""How long before its start a run may be handed in."""


class Idempotency(msgspec.Struct, frozen=True):
    """The key a client submits under, where it is unique, and the hash of the body it stands for."""

    key: str
    session: str
    """Empty for the whole tenant."""
    hash: bytes


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A submit whose questions are all answered: runner, model and texts are fixed."""

    request: RunRequest
    kind: Isolation
    timeout_s: int
    priority_s: int = 0
    run_at: int | None = None
    """Not before this time; a time that has passed is now."""
    delay_ms: int = 0
    """Not before so long from now."""
    schedule_id: str | None = None
    queue: str = DEFAULT_QUEUE
    webhook_url: str | None = None
    retry: Retry = Retry()
    budget: Budget = NO_BUDGET
    idempotency: Idempotency | None = None


def born(run_id: str, caller: Caller, new: NewRun, now: int) -> Run:
    """The run, queued; `InvalidBody` if it is for a time too far away."""
    request, idempotency = new.request, new.idempotency
    start_at = max(now + new.delay_ms, new.run_at or 0)
    if start_at - now > MAX_AHEAD_S * 1000:
        raise InvalidBody(f"The run would start in more than {MAX_AHEAD_S // 86_400} days; hand it in later.")
    return Run(
        id=run_id,
        tenant=caller.tenant,
        state=RunState.QUEUED,
        runner=request.runner,
        framework=request.framework,
        kind=new.kind,
        created_at=now,
        timeout_s=new.timeout_s,
        submitted_by=caller.key_id,
        session_id=request.session_id,
        agent=request.agent,
        queue=new.queue,
        priority_s=new.priority_s,
        order_at=start_at - new.priority_s * 1000,
        due_at=start_at if start_at > now else None,
        ready=start_at <= now,
        schedule_id=new.schedule_id,
        retry=new.retry,
        budget=new.budget,
        webhook_url=new.webhook_url,
        metadata=_raw(request.metadata),
        idempotency_key=idempotency.key if idempotency else None,
        idempotency_session=idempotency.session if idempotency else None,
        idempotency_hash=idempotency.hash if idempotency else None,
    )


def forked(run_id: str, caller: Caller, old: Run, now: int, idempotency: Idempotency | None) -> Run:
    """A new run of what a finished one was asked, queued as if it were handed in now; `RunActive` if it goes on."""
    if not old.is_final:
        raise RunActive(f"Run {old.id} is {old.status}; cancel it or let it end before asking for it again.")
    return Run(
        id=run_id,
        tenant=old.tenant,
        state=RunState.QUEUED,
        runner=old.runner,
        framework=old.framework,
        kind=old.kind,
        created_at=now,
        timeout_s=old.timeout_s,
        submitted_by=caller.key_id,
        session_id=old.session_id,
        agent=old.agent,
        queue=old.queue,
        priority_s=old.priority_s,
        order_at=now - old.priority_s * 1000,
        forked_from=old.id,
        retry=old.retry,
        budget=old.budget,
        webhook_url=old.webhook_url,
        metadata=old.metadata,
        idempotency_key=idempotency.key if idempotency else None,
        idempotency_session=idempotency.session if idempotency else None,
        idempotency_hash=idempotency.hash if idempotency else None,
    )


_NOT_THE_AGENTS = frozenset({"timeout", "worker_lost"})
"""Codes of failures that the model's last answer has no part in."""


def journal_for(old: Run, mode: JournalMode) -> Fork | None:
    """What a fork of the run begins with.

    Without the last answer if the agent failed on it; a run that was cut off goes on from where it was.
    """
    if mode is JournalMode.FRESH:
        return None
    return Fork(old.id, old.generation, old.error is not None and old.error.code not in _NOT_THE_AGENTS)


def body_hash(fields: Mapping[str, object]) -> bytes:
    """What makes two submits the same: SHA-256 of the JSON with sorted keys, without nulls and `idempotency_*`."""
    kept = {k: v for k, v in fields.items() if v is not None and not k.startswith("idempotency_")}
    return hashlib.sha256(msgspec.json.encode(kept, order="sorted")).digest()


def _raw(value: JsonObject | None) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(msgspec.json.encode(value))
