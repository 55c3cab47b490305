-- A result is written once and never taken back: rows of later updates carry none.
WITH new (
    id, state, order_at, due_at, ready, blocked_by, seq, generation, attempt_id, attempt, attempt_at, worker_id,
    lost, unproven, failures, solo, executed_ms, started_at, finished_at, waiting_kind,
    model_calls, input_tokens, output_tokens, cost_nano_usd, unpriced_calls, error_code, error_message,
    result_size, progress, waiting, lanes,
    result, result_hash
) AS (VALUES :rows)
UPDATE runs
SET state = new.state,
    order_at = new.order_at,
    due_at = new.due_at,
    ready = new.ready,
    blocked_by = new.blocked_by,
    seq = new.seq,
    generation = new.generation,
    attempt_id = new.attempt_id,
    attempt = new.attempt,
    attempt_at = new.attempt_at,
    worker_id = new.worker_id,
    lost = new.lost,
    unproven = new.unproven,
    failures = new.failures,
    solo = new.solo,
    executed_ms = new.executed_ms,
    started_at = new.started_at,
    finished_at = new.finished_at,
    waiting_kind = new.waiting_kind,
    model_calls = new.model_calls,
    input_tokens = new.input_tokens,
    output_tokens = new.output_tokens,
    cost_nano_usd = new.cost_nano_usd,
    unpriced_calls = new.unpriced_calls,
    error_code = new.error_code,
    error_message = new.error_message,
    result_size = new.result_size,
    progress = new.progress,
    waiting = new.waiting,
    lanes = new.lanes,
    result = coalesce(new.result, runs.result),
    result_hash = coalesce(new.result_hash, runs.result_hash)
FROM new
WHERE runs.id = new.id
