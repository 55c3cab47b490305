-- Whose lanes a recovery may touch: those with room for runs that wait, with remains of the dead, with runs in lanes that
-- are due or lost their worker, and at the start (`$2`) all.
WITH RECURSIVE holders (id) AS (
    SELECT min(worker_id)
    FROM outlast.runs
    UNION ALL
    SELECT (SELECT min(worker_id) FROM outlast.runs WHERE worker_id > holders.id)
    FROM holders
    WHERE holders.id IS NOT NULL
)
SELECT tenant
FROM outlast.lanes
WHERE waiting > 0
  AND (max_running IS NULL OR held < max_running)
UNION
SELECT tenant
FROM outlast.lanes
WHERE $2::boolean
UNION
SELECT tenant
FROM outlast.remains
WHERE NOT EXISTS (
    SELECT
    FROM outlast.workers
    WHERE workers.id = remains.worker_id
      AND lost_at IS NULL
      AND lease_until > $1
)
UNION
SELECT tenant
FROM outlast.runs
WHERE due_at <= $1
  AND lanes <> ''
UNION
SELECT orphans.tenant
FROM holders
LEFT JOIN outlast.workers
ON workers.id = holders.id
CROSS JOIN LATERAL (
    SELECT tenant
    FROM outlast.runs
    WHERE worker_id = holders.id
      AND lanes <> ''
) AS orphans
WHERE workers.id IS NULL
   OR workers.lost_at IS NOT NULL
ORDER BY tenant
