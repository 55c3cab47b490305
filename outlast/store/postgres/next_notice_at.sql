-- Hops from receiver to receiver in the index, so a backlog for one costs no more than a single notice.
WITH RECURSIVE receivers (name) AS (
    SELECT min(receiver)
    FROM outlast.outbox
    UNION ALL
    SELECT (SELECT min(receiver) FROM outlast.outbox WHERE receiver > receivers.name)
    FROM receivers
    WHERE receivers.name IS NOT NULL
)
SELECT min((SELECT min(due_at) FROM outlast.outbox WHERE receiver = receivers.name))
FROM receivers
WHERE name <> ALL($1::text[])
