SELECT :head
FROM runs
WHERE due_at <= ?
ORDER BY due_at
LIMIT 1000
