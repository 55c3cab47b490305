-- Ready runs of one kind in queue order, for the runners and of the queues (JSON arrays; null
-- is every queue) that a worker has.
SELECT :head, request, request_hash
FROM runs
WHERE ready = 1
  AND kind = ?1
  AND runner IN (SELECT value FROM json_each(?2))
  AND (?3 IS NULL OR queue IN (SELECT value FROM json_each(?3)))
ORDER BY order_at, id
LIMIT ?4
