-- Hops from receiver to receiver in the index, so a backlog for one costs no more than a single notice.
WITH RECURSIVE receivers (name) AS (
    SELECT min(receiver)
    FROM outbox
    UNION ALL
    SELECT (SELECT min(receiver) FROM outbox WHERE receiver > name)
    FROM receivers
    WHERE name IS NOT NULL
)
SELECT min((SELECT min(due_at) FROM outbox WHERE receiver = name))
FROM receivers
WHERE name NOT IN (SELECT value FROM json_each(?1))
