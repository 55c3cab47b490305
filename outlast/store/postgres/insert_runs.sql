-- A batch of submits, all or none of each: a run whose id or idempotency key is taken is left out, with all its rows, and
-- not returned; the caller asks what took its place. A key that another transaction is about to take is waited for. The
-- rows come sorted by key, so two batches never wait for each other.
WITH born AS (
    INSERT INTO outlast.runs (:fixed, :moving, request, request_hash)
    SELECT *
    FROM unnest(:fixed_arrays, :moving_arrays, ?::bytea[], ?::bytea[]) AS new
    ON CONFLICT DO NOTHING
    RETURNING id, tenant, session_id, status
), told AS (
    INSERT INTO outlast.events (run_id, seq, kind, at, attempt_id, data)
    SELECT *
    FROM unnest(?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::bytea[])
        AS new (run_id, seq, kind, at, attempt_id, data)
    WHERE (run_id IN (SELECT id FROM born)) IS TRUE -- hashed once: our sessions join by index alone
), known AS (
    INSERT INTO outlast.sessions (tenant, id, created_at)
    SELECT tenant, session_id, outlast.outlast_now()
    FROM (SELECT DISTINCT tenant, session_id FROM born WHERE session_id IS NOT NULL) AS new
    ORDER BY tenant, session_id
    ON CONFLICT DO NOTHING
), counted AS (
    INSERT INTO outlast.counters AS kept (tenant, session_id, status, shard, n)
    SELECT tenant, session_id, status, ?::integer, count(*)
    FROM (
        SELECT tenant, '' AS session_id, status FROM born
        UNION ALL
        SELECT tenant, session_id, status FROM born WHERE session_id IS NOT NULL
    ) AS new
    GROUP BY tenant, session_id, status
    ORDER BY tenant, session_id, status
    ON CONFLICT (tenant, session_id, status, shard) DO UPDATE SET n = kept.n + excluded.n
)
SELECT id
FROM born
