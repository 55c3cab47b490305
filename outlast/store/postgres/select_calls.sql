SELECT hash, n, seq, head, last
FROM outlast.calls
WHERE run_id = $1
  AND generation = $2
ORDER BY seq, n
