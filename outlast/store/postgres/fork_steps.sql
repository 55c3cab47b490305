-- The steps of a generation of run $2 ($3) as the first of run $1. One that was being done, or about which a person
-- was asked, is as if an attempt before had died over it.
INSERT INTO outlast.steps (
    run_id, generation, key, name, effect, state, attempt_id, idempotency_key, started_at, input, result, result_hash,
    result_size, error, answer, ended_at
)
SELECT $1::text, 1, key, name, effect, CASE state WHEN 'unsure' THEN 'running' ELSE state END, attempt_id, idempotency_key, started_at, input, result, result_hash,
    result_size, error, answer, ended_at
FROM outlast.steps
WHERE run_id = $2
  AND generation = $3
