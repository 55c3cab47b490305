INSERT INTO runs (
    id, tenant, runner, framework, kind, created_at, timeout_s, submitted_by, session_id, agent,
    queue, priority_s, parent_id, forked_from, schedule_id, retry_max_attempts, retry_backoff_s, webhook_url,
    idempotency_key, idempotency_session, idempotency_hash, metadata, retry_journal,
    state, order_at, due_at, ready, blocked_by, seq, generation, attempt_id, attempt, attempt_at, worker_id,
    lost, unproven, failures, solo, executed_ms, started_at, finished_at, waiting_kind,
    model_calls, input_tokens, output_tokens, cost_nano_usd, unpriced_calls, error_code, error_message,
    result_size, progress, waiting, lanes, max_cost_nano_usd, max_tokens,
    request, request_hash, result, result_hash
)
VALUES :rows
