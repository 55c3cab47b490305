INSERT INTO steps (
    run_id, generation, key, name, effect, state, attempt_id, idempotency_key, started_at, input, result, result_hash,
    result_size, error, answer, ended_at
)
VALUES :rows
ON CONFLICT (run_id, generation, key) DO UPDATE
SET effect = excluded.effect,
    state = excluded.state,
    attempt_id = excluded.attempt_id,
    started_at = excluded.started_at,
    result = excluded.result,
    result_hash = excluded.result_hash,
    result_size = excluded.result_size,
    error = excluded.error,
    answer = excluded.answer,
    ended_at = excluded.ended_at
