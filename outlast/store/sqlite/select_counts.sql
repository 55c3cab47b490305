SELECT status, sum(n)
FROM counters
WHERE tenant = ?
  AND session_id = ?
GROUP BY status
