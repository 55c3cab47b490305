-- Some of each receiver's, the oldest first. Hops from receiver to receiver in the index, so a backlog for one costs
-- the others nothing.
WITH RECURSIVE receivers (name) AS (
    SELECT min(receiver)
    FROM outbox
    UNION ALL
    SELECT (SELECT min(receiver) FROM outbox WHERE receiver > name)
    FROM receivers
    WHERE name IS NOT NULL
)
UPDATE outbox
SET due_at = ?2,
    tries = tries + 1
WHERE id IN (
    SELECT due.id
    FROM receivers
    JOIN outbox AS due
    ON due.id IN (SELECT id FROM outbox WHERE receiver = name AND due_at <= ?1 ORDER BY due_at LIMIT ?3)
    WHERE name NOT IN (SELECT value FROM json_each(?5))
    ORDER BY due.due_at
    LIMIT ?4
)
RETURNING id, run_id, tenant, url, head, result, result_hash, result_size, tries - 1, created_at
