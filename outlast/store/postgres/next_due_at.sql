SELECT min(due_at)
FROM outlast.runs
WHERE due_at IS NOT NULL
