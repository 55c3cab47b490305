"""What a move makes: the run after it, its numbered events, the attempt that ends, the webhook notice it owes. Pure.

`lifecycle` decides which move a command is; nobody else makes one.
"""

from collections.abc import Callable

import msgspec

from outlast.clock import iso
from outlast.runs import (
    Attempt,
    AttemptEnd,
    Body,
    Draft,
    Event,
    EventKind,
    Json,
    Notice,
    Run,
    RunError,
    RunState,
)
from outlast.transitions import Transition


def requeue(
    run: Run, how: AttemptEnd, ended_at: int, now: int, why: RunError, *, due_at: int | None = None
) -> Transition:
    """Put the run back for another attempt: at once, or when it is due."""
    queued = msgspec.structs.replace(run, due_at=due_at, ready=due_at is None)
    return release(queued, RunState.QUEUED, how, ended_at, now, reason=why.code, message=why.message)


def release(run: Run, state: RunState, how: AttemptEnd, ended_at: int, now: int, **words: str) -> Transition:
    """Take the run from its attempt without ending it."""
    freed = msgspec.structs.replace(_without_attempt(run, ended_at), state=state)
    drafts = [status(freed, attempt=run.attempt, **words)]
    return move(freed, now, drafts, attempt=_ended(run, how, ended_at))


def end(
    run: Run,
    state: RunState,
    how: AttemptEnd,
    now: int,
    *,
    result: Body | None = None,
    error: RunError | None = None,
    ended_at: int | None = None,
) -> Transition:
    """The one way to a final state: status, terminal event and webhook notice together."""
    ended_at = now if ended_at is None else ended_at
    final = msgspec.structs.replace(
        _without_attempt(run, ended_at),
        state=state,
        ready=False,
        due_at=None,
        blocked_by=None,
        waiting_kind=None,
        waiting=None,
        finished_at=now,
        error=error,
    )
    return move(
        final,
        now,
        [Draft(EventKind.COMPLETE, encode(_outcome(final)))],
        attempt=_ended(run, how, ended_at),
        result=result,
        notice=_notice(final, result),
    )


def move(
    run: Run,
    now: int,
    drafts: list[Draft],
    *,
    attempt: Attempt | None = None,
    result: Body | None = None,
    notice: Notice | None = None,
) -> Transition:
    """Number the events and make the transition."""
    events = tuple(
        Event(run.id, run.seq + n, draft.kind, now, draft.data, attempt.id if attempt else run.attempt_id)
        for n, draft in enumerate(drafts, 1)
    )
    numbered = msgspec.structs.replace(run, seq=run.seq + len(events)) if events else run
    return Transition(numbered, events, attempt, result, notice)


def _without_attempt(run: Run, ended_at: int) -> Run:
    return msgspec.structs.replace(
        run,
        attempt_id=None,
        attempt_at=None,
        worker_id=None,
        executed_ms=run.executed_ms + attempt_ms(run, ended_at),
    )


def attempt_ms(run: Run, ended_at: int) -> int:
    """How long the present attempt had the run by then."""
    return max(0, ended_at - run.attempt_at) if run.attempt_at is not None else 0


def _ended(run: Run, how: AttemptEnd, ended_at: int) -> Attempt | None:
    if run.attempt_id is None or run.attempt_at is None or run.worker_id is None:
        return None
    return Attempt(run.attempt_id, run.id, run.attempt, run.worker_id, run.attempt_at, ended_at, how)


def status(run: Run, **words: str | int) -> Draft:
    """The event that says where the run is now, and why."""
    return Draft(EventKind.STATUS, encode({"status": run.status.value, **words}))


def _outcome(run: Run) -> dict[str, str]:
    outcome = {"status": run.status.value, "job_id": run.id}
    if run.error is not None:
        outcome |= {"error": run.error.message, "error_code": run.error.code}
    return outcome


def _notice(run: Run, result: Body | None) -> Notice | None:
    if run.webhook_url is None or run.finished_at is None:
        return None
    body: dict[str, object] = {
        **_outcome(run),
        "duration_seconds": run.executed_ms / 1000,
        "created_at": iso(run.created_at),
        "completed_at": iso(run.finished_at),
    }
    if (spent := run.usage.spent) is not None:
        body["usage"] = spent
    if run.session_id is not None:
        body["session_id"] = run.session_id
    if run.metadata is not None:
        body["metadata"] = run.metadata
    return Notice(f"msg_{run.id}", run.id, run.tenant, run.webhook_url, encode(body), result)


encode: Callable[[object], Json] = msgspec.json.Encoder().encode
