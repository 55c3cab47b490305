SELECT hash, n, seq, head, last
FROM calls
WHERE run_id = ?
  AND generation = ?
ORDER BY seq, n
