SELECT coalesce(sum(length(data)), 0)
FROM events
WHERE run_id = ?
  AND kind = 'log'
