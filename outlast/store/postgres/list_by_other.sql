SELECT :head
FROM outlast.runs
WHERE tenant = $1
  AND ($5::text IS NULL OR status = $5)
  AND ($6::text IS NULL OR agent = $6)
  AND ($7::text IS NULL OR framework = $7)
  AND id < $2
ORDER BY id DESC
LIMIT $3 OFFSET $4
