-- Runs of a session that were submitted while it had no limit, and have not ended.
SELECT :head
FROM runs
WHERE tenant = ?
  AND session_id = ?
  AND status IN ('queued', 'running')
  AND lanes NOT LIKE 'session%'
ORDER BY id
LIMIT ?
