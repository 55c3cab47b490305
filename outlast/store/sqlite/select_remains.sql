SELECT attempt_id, worker_id, tenant, places
FROM remains
WHERE attempt_id = ?
