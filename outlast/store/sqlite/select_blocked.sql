-- Who is next in a lane.
SELECT :head
FROM runs
WHERE tenant = ?
  AND blocked_by = ?
ORDER BY order_at, id
LIMIT ?
