-- Runs whose worker's lease has ended (or of whom no lease is known), with the end of that lease.
SELECT :head, coalesce((SELECT lease_until FROM workers WHERE workers.id = worker_id), attempt_at)
FROM runs
WHERE worker_id IS NOT NULL
  AND NOT EXISTS (
      SELECT 1
      FROM workers
      WHERE workers.id = runs.worker_id
        AND lost_at IS NULL
        AND lease_until > ?
  )
LIMIT 1000
