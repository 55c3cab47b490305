-- Some of each receiver's, the oldest first. Hops from receiver to receiver in the index, so a backlog for one costs
-- the others nothing. Those that another deliverer is about to take are left to it.
WITH RECURSIVE receivers (name) AS (
    SELECT min(receiver)
    FROM outlast.outbox
    UNION ALL
    SELECT (SELECT min(receiver) FROM outlast.outbox WHERE receiver > receivers.name)
    FROM receivers
    WHERE receivers.name IS NOT NULL
), now AS MATERIALIZED (
    SELECT outlast.outlast_now() AS at
), due AS (
    SELECT oldest.id
    FROM receivers
    CROSS JOIN LATERAL (
        SELECT id, due_at
        FROM outlast.outbox
        WHERE receiver = receivers.name
          AND due_at <= (SELECT at FROM now)
        ORDER BY due_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS oldest
    WHERE receivers.name <> ALL($3::text[])
    ORDER BY oldest.due_at
    LIMIT $1
)
UPDATE outlast.outbox
SET due_at = now.at + $4::bigint,
    tries = tries + 1
FROM due, now
WHERE outbox.id = due.id
RETURNING outbox.id, run_id, tenant, url, head, result, result_hash, result_size, tries - 1, created_at
