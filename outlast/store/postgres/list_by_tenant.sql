SELECT :head
FROM outlast.runs
WHERE tenant = $1
  AND id < $2
ORDER BY id DESC
LIMIT $3 OFFSET $4
