-- What a claim changes and no more: a third of update_runs.sql, for every run.
WITH new (
    id, state, due_at, ready, seq, attempt_id, attempt, attempt_at, worker_id, unproven, started_at
) AS (VALUES :rows)
UPDATE runs
SET state = new.state,
    due_at = new.due_at,
    ready = new.ready,
    seq = new.seq,
    attempt_id = new.attempt_id,
    attempt = new.attempt,
    attempt_at = new.attempt_at,
    worker_id = new.worker_id,
    unproven = new.unproven,
    started_at = new.started_at
FROM new
WHERE runs.id = new.id
