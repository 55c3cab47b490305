SELECT :step
FROM steps
WHERE run_id = ?
  AND generation = ?
ORDER BY started_at, rowid
LIMIT ? OFFSET ?
