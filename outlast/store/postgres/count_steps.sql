SELECT count(*)
FROM outlast.steps
WHERE run_id = ?
  AND generation = ?
