SELECT :head
FROM outlast.runs
WHERE tenant = $1
  AND session_id = $6
  AND ($5::text IS NULL OR status = $5)
  AND ($7::text IS NULL OR agent = $7)
  AND ($8::text IS NULL OR framework = $8)
  AND id < $2
ORDER BY id DESC
LIMIT $3 OFFSET $4
