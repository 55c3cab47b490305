SELECT run_id, seq, kind, at, data, attempt_id
FROM outlast.events
WHERE run_id = $1
  AND seq > $2
ORDER BY seq
LIMIT $3
