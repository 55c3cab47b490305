SELECT attempt_id
FROM outlast.runs
WHERE worker_id = $1
