SELECT :step
FROM outlast.steps
WHERE run_id = ?
  AND generation = ?
ORDER BY started_at, key
LIMIT ? OFFSET ?
