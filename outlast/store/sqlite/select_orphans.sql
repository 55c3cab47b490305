-- Runs whose worker's lease has ended, with the end of that lease.
SELECT :head, coalesce(workers.lease_until, attempt_at)
FROM runs
LEFT JOIN workers ON workers.id = runs.worker_id
WHERE runs.worker_id IS NOT NULL
  AND (workers.id IS NULL OR workers.lost_at IS NOT NULL OR workers.lease_until <= ?)
LIMIT 1000
