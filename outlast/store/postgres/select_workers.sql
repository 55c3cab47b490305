SELECT
    id,
    card,
    started_at,
    lease_until,
    lost_at,
    ARRAY(SELECT runs.id FROM outlast.runs WHERE runs.worker_id = workers.id ORDER BY runs.id)
FROM outlast.workers
ORDER BY started_at, id
