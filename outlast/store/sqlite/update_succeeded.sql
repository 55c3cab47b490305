-- What a success changes and no more: half of update_runs.sql, for nearly every run.
WITH new (
    id, state, seq, attempt_id, attempt_at, worker_id, executed_ms, finished_at, result_size, progress,
    result, result_hash
) AS (VALUES :rows)
UPDATE runs
SET state = new.state,
    seq = new.seq,
    attempt_id = new.attempt_id,
    attempt_at = new.attempt_at,
    worker_id = new.worker_id,
    executed_ms = new.executed_ms,
    finished_at = new.finished_at,
    result_size = new.result_size,
    progress = new.progress,
    result = new.result,
    result_hash = new.result_hash
FROM new
WHERE runs.id = new.id
