-- All that a batch made of the runs it holds locked, in one statement: what is empty costs next to nothing, a statement
-- more costs a round trip. A result is written once and never taken back: rows of later updates carry none.
WITH gone AS (
    SELECT id
    FROM unnest(?::text[]) AS deleted (id)
), unsaid AS (
    DELETE FROM outlast.events
    USING gone
    WHERE run_id = gone.id
), untried AS (
    DELETE FROM outlast.attempts
    USING gone
    WHERE run_id = gone.id
), removed AS (
    DELETE FROM outlast.runs
    USING gone
    WHERE runs.id = gone.id
), changed AS (
    UPDATE outlast.runs
    SET (:moving, result, result_hash)
        = (:new_moving, coalesce(new.result, runs.result), coalesce(new.result_hash, runs.result_hash))
    FROM unnest(?::text[], :moving_arrays, ?::bytea[], ?::bytea[])
        AS new (id, :moving, result, result_hash)
    WHERE runs.id = new.id
), ended AS (
    INSERT INTO outlast.attempts (run_id, number, id, worker_id, started_at, ended_at, "end")
    SELECT *
    FROM unnest(?::text[], ?::bigint[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::text[])
        AS new (run_id, number, id, worker_id, started_at, ended_at, "end")
), told AS (
    INSERT INTO outlast.events (run_id, seq, kind, at, attempt_id, data)
    SELECT *
    FROM unnest(?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::bytea[])
        AS new (run_id, seq, kind, at, attempt_id, data)
), owed AS (
    INSERT INTO outlast.outbox (
        id, run_id, tenant, url, receiver, head, result, result_hash, result_size, created_at, due_at, tries
    )
    SELECT *
    FROM unnest(
        ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bigint[],
        ?::bigint[], ?::bigint[], ?::bigint[]
    )
        AS new (id, run_id, tenant, url, receiver, head, result, result_hash, result_size, created_at, due_at, tries)
)
INSERT INTO outlast.counters AS kept (tenant, session_id, status, n, shard)
SELECT *, ?::integer
FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[]) AS new (tenant, session_id, status, n)
ON CONFLICT (tenant, session_id, status, shard) DO UPDATE SET n = kept.n + excluded.n
