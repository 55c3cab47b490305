-- Ready runs of one kind in queue order, for the runners (a JSON array) that a worker has.
SELECT :head, request, request_hash
FROM runs
WHERE ready = 1
  AND kind = ?
  AND runner IN (SELECT value FROM json_each(?))
ORDER BY order_at, id
LIMIT ?
