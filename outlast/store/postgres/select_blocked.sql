-- Who is next in a lane.
SELECT :head
FROM outlast.runs
WHERE tenant = $1
  AND blocked_by = $2
ORDER BY order_at, id
LIMIT $3
FOR UPDATE
