SELECT hash, n, seq, path, head, last
FROM calls
WHERE run_id = ?
  AND generation = ?
ORDER BY seq, n
