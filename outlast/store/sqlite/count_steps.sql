SELECT count(*)
FROM steps
WHERE run_id = ?
  AND generation = ?
