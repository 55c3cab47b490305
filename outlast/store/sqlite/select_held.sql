SELECT attempt_id
FROM runs
WHERE worker_id = ?
