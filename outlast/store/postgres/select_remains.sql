SELECT attempt_id, worker_id, tenant, places
FROM outlast.remains
WHERE attempt_id = ANY($1::text[])
