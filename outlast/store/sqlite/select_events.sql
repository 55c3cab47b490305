SELECT run_id, seq, kind, at, data, attempt_id
FROM events
WHERE run_id = ?
  AND seq > ?
ORDER BY seq
LIMIT ?
