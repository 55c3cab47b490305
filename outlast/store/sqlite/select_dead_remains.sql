-- Of workers whose lease has ended: they have stopped their agents before that.
SELECT attempt_id, worker_id, tenant, places
FROM remains
WHERE NOT EXISTS (
    SELECT 1
    FROM workers
    WHERE workers.id = remains.worker_id
      AND lost_at IS NULL
      AND lease_until > ?
)
LIMIT 1000
