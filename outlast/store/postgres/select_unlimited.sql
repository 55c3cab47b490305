-- Runs of a session that were submitted while it had no limit, and have not ended. They are locked with the others, and
-- looked at again then.
SELECT id
FROM outlast.runs
WHERE tenant = $1
  AND session_id = $2
  AND state IN ('queued', 'running', 'waiting')
  AND lanes NOT LIKE 'session%'
ORDER BY id
LIMIT $3
