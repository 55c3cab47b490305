-- Of workers whose lease has ended: they have stopped their agents before that.
SELECT attempt_id, worker_id, tenant, places
FROM outlast.remains
WHERE NOT EXISTS (
    SELECT
    FROM outlast.workers
    WHERE workers.id = remains.worker_id
      AND lost_at IS NULL
      AND lease_until > $1
)
  AND tenant = ANY($2::text[])
LIMIT 1000
