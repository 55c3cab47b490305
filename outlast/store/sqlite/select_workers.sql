SELECT
    id,
    card,
    started_at,
    lease_until,
    lost_at,
    (SELECT json_group_array(runs.id) FROM runs WHERE runs.worker_id = workers.id)
FROM workers
ORDER BY started_at, id
