-- Runs whose worker is lost or of whom nothing is known, with the end of its lease. Hops from worker to worker in the
-- index, so what live workers hold costs nothing. Those that another janitor has in hand are left to it.
WITH RECURSIVE holders (id) AS (
    SELECT min(worker_id)
    FROM outlast.runs
    UNION ALL
    SELECT (SELECT min(worker_id) FROM outlast.runs WHERE worker_id > holders.id)
    FROM holders
    WHERE holders.id IS NOT NULL
)
SELECT :head, coalesce(workers.lease_until, runs.attempt_at)
FROM holders
LEFT JOIN outlast.workers
ON workers.id = holders.id
CROSS JOIN LATERAL (
    SELECT *
    FROM outlast.runs
    WHERE runs.worker_id = holders.id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
) AS runs
WHERE holders.id IS NOT NULL
  AND (workers.id IS NULL OR workers.lost_at IS NOT NULL)
LIMIT 1000
