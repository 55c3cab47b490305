-- Workers, oldest first, with the runs of one tenant (null is every tenant) that each holds, and its places that any hold.
SELECT
    workers.id,
    workers.card,
    workers.started_at,
    workers.lease_until,
    workers.lost_at,
    json_group_array(runs.id) FILTER (WHERE runs.id IS NOT NULL AND (?1 IS NULL OR runs.tenant = ?1)),
    count(*) FILTER (WHERE runs.kind = 'shared'),
    count(*) FILTER (WHERE runs.kind = 'isolated')
FROM workers
LEFT JOIN runs ON runs.worker_id = workers.id
GROUP BY workers.id
ORDER BY workers.started_at, workers.id
