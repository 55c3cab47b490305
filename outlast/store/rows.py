"""A run's head as a row and back, in the same columns and order for both stores. Nothing is validated on read."""

from typing import Protocol

import msgspec

from outlast.runs import (
    NO_BUDGET,
    Body,
    Budget,
    Isolation,
    JournalMode,
    Progress,
    Retry,
    Run,
    RunError,
    RunState,
    Usage,
)
from outlast.store.queries import Row

_KINDS = {kind.value: kind for kind in Isolation}
_MODES = {mode.value: mode for mode in JournalMode}
_STATES = {state.value: state for state in RunState}
_NO_PROGRESS = Progress()
_NO_RETRY = Retry()
_encode = msgspec.json.Encoder().encode
_decode_progress = msgspec.json.Decoder(Progress).decode


class Cells(Protocol):
    """A row of either database, of whatever columns."""

    def __getitem__(self, at: int, /):  # type: ignore[no-untyped-def]  # the schema knows
        ...


def fixed(run: Run) -> Row:
    """What a submit decides for good, as in insert_runs.sql."""
    return (
        run.id,
        run.tenant,
        run.runner,
        run.framework,
        run.kind._value_,
        run.created_at,
        run.timeout_s,
        run.submitted_by,
        run.session_id,
        run.agent,
        run.queue,
        run.priority_s,
        run.parent_id,
        run.forked_from,
        run.schedule_id,
        run.retry.max_attempts,
        run.retry.backoff_s,
        run.webhook_url,
        run.idempotency_key,
        run.idempotency_session,
        run.idempotency_hash,
        _bytes(run.metadata),
        run.retry.journal._value_,
    )


def moving(run: Run) -> Row:
    """What transitions change, as in insert_runs.sql and update_runs.sql."""
    error = run.error
    return (
        run.state._value_,
        run.order_at,
        run.due_at,
        run.ready,
        run.blocked_by,
        run.seq,
        run.generation,
        run.attempt_id,
        run.attempt,
        run.attempt_at,
        run.worker_id,
        run.lost,
        run.unproven,
        run.failures,
        run.solo,
        run.executed_ms,
        run.started_at,
        run.finished_at,
        run.waiting_kind,
        run.usage.model_calls,
        run.usage.input_tokens,
        run.usage.output_tokens,
        run.usage.cost_nano_usd,
        run.usage.unpriced_calls,
        error.code if error else None,
        error.message.encode() if error else None,  # may have NUL, which is no text in PostgreSQL
        run.result_size,
        None if run.progress == _NO_PROGRESS else _encode(run.progress),
        _bytes(run.waiting),
        run.lanes,
        run.budget.max_cost_nano_usd,
        run.budget.max_tokens,
    )


def claimed(run: Run) -> Row:
    """The run's id and what a claim changes, as in update_claimed.sql."""
    return (
        run.id,
        run.state._value_,
        run.due_at,
        run.ready,
        run.seq,
        run.attempt_id,
        run.attempt,
        run.attempt_at,
        run.worker_id,
        run.unproven,
        run.started_at,
    )


def succeeded(run: Run) -> Row:
    """The run's id and what a success changes, as in update_succeeded.sql."""
    return (
        run.id,
        run.state._value_,
        run.seq,
        run.attempt_id,
        run.attempt_at,
        run.worker_id,
        run.executed_ms,
        run.finished_at,
        run.result_size,
        _encode(run.progress),
    )


def body(value: Body | None) -> Row:
    """A request or a result: inline, hash."""
    return (None, None) if value is None else (value.inline, value.hash)


def _bytes(raw: msgspec.Raw | None) -> bytes | None:
    return None if raw is None else bytes(raw)


# mypy cannot know the types of columns; the schema holds them (STRICT tables, PostgreSQL's own types).
def read(row: Cells) -> Run:
    """The head from a row of select_heads.sql: the columns of `fixed`, then of `moving`."""
    return Run(
        id=row[0],
        tenant=row[1],
        runner=row[2],
        framework=row[3],
        kind=_KINDS[row[4]],
        created_at=row[5],
        timeout_s=row[6],
        submitted_by=row[7],
        session_id=row[8],
        agent=row[9],
        queue=row[10],
        priority_s=row[11],
        parent_id=row[12],
        forked_from=row[13],
        schedule_id=row[14],
        retry=_NO_RETRY if row[15] == 1 else Retry(row[15], row[16], _MODES[row[22]]),
        webhook_url=row[17],
        idempotency_key=row[18],
        idempotency_session=row[19],
        idempotency_hash=row[20],
        metadata=None if row[21] is None else msgspec.Raw(row[21]),
        state=_STATES[row[23]],
        order_at=row[24],
        due_at=row[25],
        ready=bool(row[26]),
        blocked_by=row[27],
        seq=row[28],
        generation=row[29],
        attempt_id=row[30],
        attempt=row[31],
        attempt_at=row[32],
        worker_id=row[33],
        lost=row[34],
        unproven=row[35],
        failures=row[36],
        solo=bool(row[37]),
        executed_ms=row[38],
        started_at=row[39],
        finished_at=row[40],
        waiting_kind=row[41],
        usage=Usage(row[42], row[43], row[44], row[45], row[46]),
        error=None if row[47] is None else RunError(row[47], row[48].decode()),
        result_size=row[49],
        progress=_NO_PROGRESS if row[50] is None else _decode_progress(row[50]),
        waiting=None if row[51] is None else msgspec.Raw(row[51]),
        lanes=row[52],
        budget=NO_BUDGET if row[53] is None and row[54] is None else Budget(row[53], row[54]),
    )


FIXED_COLUMNS = """id, tenant, runner, framework, kind, created_at, timeout_s, submitted_by, session_id, agent,
    queue, priority_s, parent_id, forked_from, schedule_id, retry_max_attempts, retry_backoff_s,
    webhook_url, idempotency_key, idempotency_session, idempotency_hash, metadata, retry_journal"""
"""The order of `fixed`."""

MOVING_COLUMNS = """state, order_at, due_at, ready, blocked_by, seq, generation, attempt_id, attempt, attempt_at,
    worker_id, lost, unproven, failures, solo, executed_ms, started_at, finished_at, waiting_kind,
    model_calls, input_tokens, output_tokens, cost_nano_usd, unpriced_calls, error_code, error_message,
    result_size, progress, waiting, lanes, max_cost_nano_usd, max_tokens"""
"""The order of `moving`."""

HEAD_COLUMNS = f"{FIXED_COLUMNS}, {MOVING_COLUMNS}"
"""The order that `read` expects; `:head` in a query stands for it."""

HEAD_WIDTH = HEAD_COLUMNS.count(",") + 1
